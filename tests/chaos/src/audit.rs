//! What is kept of a run, and what must hold of it.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time;

/// How long the database may take to be back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Questions whose answers are violations, one line each, and what they are about.
const RULES: [(&str, &str); 8] = [
    (
        "an epoch went back",
        "select id::text || ' from ' || before || ' to ' || epoch from (
            select what, id, epoch, lag(epoch) over (partition by what, id order by seq) as before
              from chaos_audit where what = 'sandbox') steps
          where epoch < before",
    ),
    (
        "a sandbox was claimed for two investigations",
        "select id::text from chaos_audit where what = 'sandbox' and state = 'claimed'
          group by id having count(distinct partner) > 1",
    ),
    (
        "a sandbox was claimed without a new epoch",
        "select id::text || ' at ' || epoch from (
            select id, state, epoch, lag(state) over w as old_state, lag(epoch) over w as old_epoch
              from chaos_audit where what = 'sandbox' window w as (partition by id order by seq)) steps
          where state = 'claimed' and old_state = 'ready' and epoch <> old_epoch + 1",
    ),
    (
        "a sandbox that was gone came back",
        "select id::text from (
            select id, state, lag(state) over (partition by id order by seq) as old_state
              from chaos_audit where what = 'sandbox') steps
          where old_state = 'gone' and state <> 'gone'",
    ),
    (
        "an investigation that had ended went on",
        "select id::text from (
            select id, state, lag(state) over (partition by id order by seq) as old_state
              from chaos_audit where what = 'investigation') steps
          where old_state in ('concluded', 'cancelled', 'failed') and state <> old_state",
    ),
    (
        "an investigation ended without a report or a reason",
        "select i.id::text || ' is ' || i.state from investigations i
          where i.state not in ('cancelled', 'failed')
            and not exists (select from reports r where r.investigation_id = i.id)",
    ),
    (
        "a step was left in the outbox",
        "select kind || ' ' || id || coalesce(': ' || last_error, '') from outbox",
    ),
    (
        "a sandbox was left with an investigation that has ended",
        "select s.id::text from sandboxes s join investigations i on i.id = s.investigation_id
          where s.state = 'claimed' and i.state in ('concluded', 'cancelled', 'failed')",
    ),
];

/// What is not at its end yet.
const UNFINISHED: &str = "
    select 'investigation ' || id || ' is ' || state from investigations
     where state not in ('concluded', 'cancelled', 'failed')
    union all
    select 'sandbox ' || id || ' is ' || state from sandboxes where state in ('claimed', 'retiring')
    union all
    select 'the report of ' || r.investigation_id || ' is on its way' from reports r
     where exists (select from endpoints where report_url is not null)
       and not exists (select from write_backs w
                        where w.investigation_id = r.investigation_id and w.epoch = r.epoch)
    union all
    select 'step ' || kind || ' is due ' || due_at || coalesce(': ' || last_error, '') from outbox
     where dead_at is null";

/// How a run ended, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Ended investigations by state.
    pub(crate) ends: Vec<(String, i64)>,
    /// Reports.
    pub(crate) reports: i64,
    /// Starts beyond the first of each investigation.
    pub(crate) restarts: i64,
    /// Sandboxes made.
    pub(crate) sandboxes: i64,
    /// Steps written in the older version.
    pub(crate) old_steps: i64,
}

/// The database of a run, asked anew each time: connections do not outlive its ends.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    url: String,
}

impl Audit {
    /// Begins to keep what happens, lets functions of the version before write as that did, and has reports
    /// sent to `receiver`.
    pub(crate) async fn begin(url: String, receiver: &str) -> Result<Self> {
        let audit = Self { url };
        let mut connection = audit.connect().await?;
        sqlx::raw_sql(include_str!("audit.sql"))
            .execute(&mut connection)
            .await?;
        sqlx::query("update endpoints set report_url = $1")
            .bind(receiver)
            .execute(&mut connection)
            .await?;
        Ok(audit)
    }

    /// What is not at its end yet.
    pub(crate) async fn unfinished(&self) -> Result<Vec<String>> {
        self.lines(UNFINISHED).await
    }

    /// What must not be, one line each.
    pub(crate) async fn violations(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (rule, question) in RULES {
            found.extend(
                self.lines(question)
                    .await?
                    .into_iter()
                    .map(|line| format!("{rule}: {line}")),
            );
        }
        Ok(found)
    }

    /// What an accepted alert must have led to: one delivery, one alert, one investigation.
    pub(crate) async fn lost(&self, key: &str) -> Result<Option<String>> {
        let mut connection = self.connect().await?;
        let row = sqlx::query(
            "select count(distinct a.id), count(distinct i.id)
               from incidents n
               left join alerts a on a.incident_id = n.id
               left join investigations i on i.incident_id = n.id
              where n.source_key = $1",
        )
        .bind(key)
        .fetch_one(&mut connection)
        .await?;
        let (alerts, investigations): (i64, i64) = (row.get(0), row.get(1));
        Ok(((alerts, investigations) != (1, 1)).then(|| {
            format!("{key} was accepted and has {alerts} alerts, {investigations} investigations")
        }))
    }

    /// Deliveries of reports that are written down as settled, by the id that the receiver was told.
    pub(crate) async fn delivered(&self) -> Result<Vec<String>> {
        self.lines(
            "select 'inv_' || replace(investigation_id::text, '-', '') || '-' || epoch from write_backs",
        )
        .await
    }

    /// How it ended.
    pub(crate) async fn figures(&self) -> Result<Figures> {
        let mut connection = self.connect().await?;
        let ends =
            sqlx::query("select state, count(*) from investigations group by state order by state")
                .fetch_all(&mut connection)
                .await?;
        let row = sqlx::query(
            "select (select count(*) from reports), (select coalesce(sum(restarts), 0) from investigations),
                    (select count(*) from sandboxes),
                    (select case when is_called then last_value else 0 end from chaos_old_steps)",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(Figures {
            ends: ends.iter().map(|row| (row.get(0), row.get(1))).collect(),
            reports: row.get(0),
            restarts: row.get(1),
            sandboxes: row.get(2),
            old_steps: row.get(3),
        })
    }

    async fn lines(&self, question: &'static str) -> Result<Vec<String>> {
        let mut connection = self.connect().await?;
        let rows = sqlx::query(AssertSqlSafe(question))
            .fetch_all(&mut connection)
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn connect(&self) -> Result<PgConnection> {
        let connected = async {
            loop {
                match PgConnection::connect(&self.url).await {
                    Ok(connection) => return connection,
                    Err(_) => time::sleep(Duration::from_millis(200)).await,
                }
            }
        };
        time::timeout(PATIENCE, connected)
            .await
            .context("the database does not answer")
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
