//! How the runs ended, by the database.

use anyhow::{Context, Result};
use nightshift_stack::Stack;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

const RUNS: &str = "
    select n.source_key, i.state, i.restarts, i.epoch, r.epoch as reported,
           r.report ->> 'summary' as summary,
           (select count(*) from investigations j where j.incident_id = n.id) as investigations
      from incidents n
      left join investigations i on i.incident_id = n.id
      left join reports r on r.investigation_id = i.id
     order by n.source_key";

/// The database of a stack.
#[derive(Debug)]
pub(crate) struct Ends {
    url: String,
}

/// One alert and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) restarts: i32,
    pub(crate) epoch: Option<i64>,
    pub(crate) reported: Option<i64>,
    pub(crate) summary: String,
    pub(crate) investigations: i64,
}

impl Run {
    pub(crate) fn has_ended(&self) -> bool {
        ["resting", "concluded", "failed", "cancelled"].contains(&self.state.as_str())
    }

    /// What is wrong with it, if something is.
    pub(crate) fn wrong(&self) -> Option<String> {
        let Self { key, state, .. } = self;
        if self.investigations != 1 {
            return Some(format!("{key} has {} investigations", self.investigations));
        }
        if !["resting", "concluded"].contains(&state.as_str()) {
            return Some(format!("{key} is {state}"));
        }
        if self.restarts != 0 {
            return Some(format!("{key} was started {} times more", self.restarts));
        }
        if self.reported.is_none() || (self.epoch.is_some() && self.epoch != self.reported) {
            return Some(format!("{key} has no report of its start"));
        }
        // The words with which the harness begins where the agent came to no report.
        let given_up = self.summary.starts_with("The agent ended without a report");
        given_up.then(|| format!("{key} was given up: {}", self.summary))
    }
}

impl Ends {
    /// Those of this stack.
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let file = stack.file()?;
        let url = file["database"].as_str().context("no database")?.to_owned();
        Ok(Self { url })
    }

    /// Investigations at work.
    pub(crate) async fn working(&self) -> Result<i64> {
        let row = sqlx::query("select count(*) from investigations where state = 'working'")
            .fetch_one(&mut self.connect().await?)
            .await?;
        Ok(row.get(0))
    }

    /// Every alert's.
    pub(crate) async fn runs(&self) -> Result<Vec<Run>> {
        let rows = sqlx::query(RUNS)
            .fetch_all(&mut self.connect().await?)
            .await?;
        let run = |row: &sqlx::postgres::PgRow| -> Result<Run, sqlx::Error> {
            Ok(Run {
                key: row.try_get("source_key")?,
                state: row
                    .try_get::<Option<String>, _>("state")?
                    .unwrap_or_default(),
                restarts: row
                    .try_get::<Option<i32>, _>("restarts")?
                    .unwrap_or_default(),
                epoch: row.try_get("epoch")?,
                reported: row.try_get("reported")?,
                summary: row
                    .try_get::<Option<String>, _>("summary")?
                    .unwrap_or_default(),
                investigations: row.try_get("investigations")?,
            })
        };
        Ok(rows.iter().map(run).collect::<Result<_, _>>()?)
    }

    /// Calls that a server wrote down as refused or failed, one line each.
    pub(crate) async fn refused_calls(&self) -> Result<Vec<String>> {
        let question =
            "select server || ' ' || tool || ' ' || outcome || ': ' || coalesce(detail, '')
                          from tool_calls where outcome <> 'answered' order by id";
        let rows = sqlx::query(AssertSqlSafe(question))
            .fetch_all(&mut self.connect().await?)
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn connect(&self) -> Result<PgConnection> {
        PgConnection::connect(&self.url)
            .await
            .context("the database does not answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_of_the_agent_at_the_first_start_is_right() {
        let good = Run {
            key: "a".to_owned(),
            state: "resting".to_owned(),
            restarts: 0,
            epoch: Some(1),
            reported: Some(1),
            summary: "The cause is this.".to_owned(),
            investigations: 1,
        };
        assert_eq!(good.wrong(), None);
        let summary = "The agent ended without a report: away.".to_owned();
        let bad = [
            Run {
                state: "failed".to_owned(),
                ..good.clone()
            },
            Run {
                restarts: 1,
                ..good.clone()
            },
            Run {
                reported: None,
                ..good.clone()
            },
            Run {
                epoch: Some(2),
                ..good.clone()
            },
            Run {
                summary,
                ..good.clone()
            },
            Run {
                investigations: 0,
                ..good.clone()
            },
        ];
        for run in bad {
            assert!(run.wrong().is_some(), "{run:?}");
        }
    }
}
