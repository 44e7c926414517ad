//! Listings come in pages: `?limit=&cursor=` in, `{"items": […], "next_cursor": …}` out.

use std::{fmt::Display, str::FromStr};

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nightshift_lambda::Problem;
use nightshift_store::views::Part;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many items a page holds unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// How many it holds at most.
const MAX_LIMIT: u32 = 200;

/// Which page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// How many items, 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of a listing, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; `null` on the last one. Give it back as it is.
    pub(crate) next_cursor: Option<String>,
}

impl Paging {
    /// The part of a listing that the page shows, and one item more, which tells whether another
    /// page follows.
    pub(crate) fn part<Key: FromStr>(&self) -> Result<Part<Key>, Problem> {
        let limit = self.limit()?;
        let before = self.cursor.as_deref().map(read_cursor).transpose()?;
        Ok(Part {
            before,
            limit: i64::from(limit) + 1,
        })
    }

    /// Makes a page of the rows of [`Paging::part`].
    pub(crate) fn page<Row, Item: From<Row>, Key: Display>(
        &self,
        mut rows: Vec<Row>,
        key: impl Fn(&Row) -> Key,
    ) -> Result<Page<Item>, Problem> {
        let limit = self.limit()? as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|row| URL_SAFE_NO_PAD.encode(key(row).to_string()));
        Ok(Page {
            items: rows.into_iter().map(Item::from).collect(),
            next_cursor,
        })
    }

    fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        let (bad, title) = (StatusCode::BAD_REQUEST, "The limit is out of range");
        let detail = format!("limit is {limit}; it must be between 1 and {MAX_LIMIT}");
        Err(Problem::new(bad, "bad-limit", title, detail))
    }
}

fn read_cursor<Key: FromStr>(cursor: &str) -> Result<Key, Problem> {
    let text = URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let (bad, title) = (
            StatusCode::BAD_REQUEST,
            "The cursor is not one of this listing",
        );
        let detail =
            "begin again without a cursor, or use the `next_cursor` of a page of this listing";
        Problem::new(bad, "bad-cursor", title, detail)
    })
}

#[cfg(test)]
mod tests {
    use nightshift_domain::{AlertId, InvestigationId};

    use super::*;

    fn paging(limit: Option<u32>, cursor: Option<&str>) -> Paging {
        Paging {
            limit,
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn a_page_that_is_followed_by_another_leads_to_it_and_the_last_one_does_not() {
        let ids: Vec<AlertId> = (0..3).map(|_| AlertId::generate()).collect();
        let two = paging(Some(2), None);
        assert_eq!(two.part::<AlertId>().unwrap().limit, 3);

        let first: Page<AlertId> = two.page(ids.clone(), |id| *id).unwrap();
        assert_eq!(first.items, ids[..2]);
        let next = paging(Some(2), first.next_cursor.as_deref())
            .part::<AlertId>()
            .unwrap();
        assert_eq!(next.before, Some(ids[1]));

        let last: Page<AlertId> = two.page(ids[..2].to_vec(), |id| *id).unwrap();
        assert_eq!(last.next_cursor, None);
    }

    #[test]
    fn a_cursor_of_another_listing_or_of_nobody_is_refused() {
        let other = URL_SAFE_NO_PAD.encode(InvestigationId::generate().to_string());
        for cursor in [other.as_str(), "", "!!", "AAAA"] {
            let refused = paging(None, Some(cursor)).part::<AlertId>().unwrap_err();
            assert_eq!(
                (refused.status, refused.kind.as_str()),
                (400, "bad-cursor"),
                "{cursor}"
            );
        }
    }

    #[test]
    fn a_limit_out_of_range_is_refused_and_its_ends_are_not() {
        for limit in [0, 201, u32::MAX] {
            let refused = paging(Some(limit), None).part::<AlertId>().unwrap_err();
            assert_eq!(refused.kind, "bad-limit", "{limit}");
        }
        for limit in [1, 200] {
            assert!(
                paging(Some(limit), None).part::<AlertId>().is_ok(),
                "{limit}"
            );
        }
    }
}
