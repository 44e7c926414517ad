//! `ListQueues` and `ListDeadLetterSourceQueues`.

use serde::{Deserialize, Serialize};

use super::Action;
use crate::account::Account;
use crate::limits;
use crate::refusal::Refusal;

/// Lists queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListQueues {
    /// Only queues whose names begin like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_name_prefix: Option<String>,
    /// 1 to 1,000 a page. Without it there is no next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
    /// From the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A page of queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueUrls {
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queue_urls: Vec<String>,
    /// For the page after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// Lists the queues whose dead-letter queue this one is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListDeadLetterSourceQueues {
    /// The dead-letter queue.
    pub queue_url: String,
    /// 1 to 1,000 a page. Without it there is no next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
    /// From the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A page of sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SourceQueueUrls {
    /// By name. The protocol spells this one small.
    #[serde(rename = "queueUrls")]
    pub queue_urls: Vec<String>,
    /// For the page after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

impl Action for ListQueues {
    const NAME: &'static str = "ListQueues";
    type Answer = QueueUrls;

    fn perform(self, account: &mut Account) -> Result<QueueUrls, Refusal> {
        let prefix = self.queue_name_prefix.unwrap_or_default();
        let names: Vec<_> = account
            .names()
            .filter(|name| name.starts_with(&prefix))
            .collect();
        let (names, next_token) = page(names, self.max_results, self.next_token.as_deref())?;
        let queue_urls = names.into_iter().map(|name| account.url(name)).collect();
        Ok(QueueUrls {
            queue_urls,
            next_token,
        })
    }
}

impl Action for ListDeadLetterSourceQueues {
    const NAME: &'static str = "ListDeadLetterSourceQueues";
    type Answer = SourceQueueUrls;

    fn perform(self, account: &mut Account) -> Result<SourceQueueUrls, Refusal> {
        let target = account.queue(&self.queue_url)?.name.clone();
        let names: Vec<_> = account.sources_of(&target).collect();
        let (names, next_token) = page(names, self.max_results, self.next_token.as_deref())?;
        let queue_urls = names.into_iter().map(|name| account.url(name)).collect();
        Ok(SourceQueueUrls {
            queue_urls,
            next_token,
        })
    }
}

/// The names after the token, as many as asked for; the next token is the last of them.
fn page<'a>(
    names: Vec<&'a str>,
    most: Option<i64>,
    token: Option<&str>,
) -> Result<(Vec<&'a str>, Option<String>), Refusal> {
    let most = match most {
        Some(most) if !(1..=limits::PAGE).contains(&most) => {
            return Err(Refusal::value(
                most,
                "MaxResults",
                "MaxResults must be an integer between 1 and 1000.",
            ));
        }
        most => most.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
    };
    let after = names
        .into_iter()
        .filter(|name| token.is_none_or(|token| *name > token));
    let mut page: Vec<_> = after.take(most.map_or(1_000, |most| most + 1)).collect();
    let has_more = most.is_some_and(|most| page.len() > most);
    if has_more {
        page.pop();
    }
    let next = page
        .last()
        .filter(|_| has_more)
        .map(|name| (*name).to_owned());
    Ok((page, next))
}
