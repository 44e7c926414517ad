//! What it cost: processor time of PostgreSQL and of this process, connections, and bytes of WAL.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use sqlx::PgPool;

/// Ticks of the kernel's accounting in a second; 100 on every Linux of today (`USER_HZ`).
const TICKS: u64 = 100;

/// What was used up to one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    postgres: Duration,
    bench: Duration,
    wal_bytes: i64,
}

impl Usage {
    /// What was used until now.
    pub(crate) async fn now(admin: &PgPool) -> Result<Self> {
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(admin)
            .await?;
        let wal_bytes = sqlx::query_scalar(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
        )
        .fetch_one(admin)
        .await?;
        let postmaster = Process::read(u32::try_from(backend)?)
            .context("no backend")?
            .parent;
        Ok(Self {
            postgres: Duration::from_millis(ticks_below(postmaster)? * 1_000 / TICKS),
            bench: Duration::from_millis(
                Process::read(std::process::id()).context("no self")?.ticks * 1_000 / TICKS,
            ),
            wal_bytes,
        })
    }

    /// What was used since.
    pub(crate) async fn since(self, admin: &PgPool) -> Result<Self> {
        let now = Self::now(admin).await?;
        Ok(Self {
            postgres: now.postgres.saturating_sub(self.postgres),
            bench: now.bench.saturating_sub(self.bench),
            wal_bytes: now.wal_bytes - self.wal_bytes,
        })
    }

    /// Microseconds of PostgreSQL's processor time for each of `count`.
    pub(crate) fn postgres_us(&self, count: usize) -> f64 {
        each(self.postgres, count)
    }

    /// Cores that PostgreSQL kept busy.
    pub(crate) fn postgres_cores(&self, during: Duration) -> f64 {
        self.postgres.as_secs_f64() / during.as_secs_f64()
    }

    /// Cores that this process kept busy.
    pub(crate) fn bench_cores(&self, during: Duration) -> f64 {
        self.bench.as_secs_f64() / during.as_secs_f64()
    }

    /// Megabytes of WAL.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a benchmark writes far below 2^52 bytes"
    )]
    pub(crate) fn wal_mb(&self) -> f64 {
        self.wal_bytes as f64 / 1e6
    }

    /// Microseconds of this process's processor time for each of `count`.
    pub(crate) fn bench_us(&self, count: usize) -> f64 {
        each(self.bench, count)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are small"
)]
fn each(spent: Duration, count: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// A line of `/proc/PID/stat`.
struct Process {
    parent: u32,
    /// User and system time.
    ticks: u64,
    /// The same of its children that have ended.
    ended: u64,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in brackets may hold anything, so fields are counted behind its end.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            ended: number(13)? + number(14)?,
        })
    }
}

/// The time of a process, of its children, and of its children that have ended.
fn ticks_below(parent: u32) -> Result<u64> {
    let itself = Process::read(parent).context("PostgreSQL's first process is gone")?;
    let mut ticks = itself.ticks + itself.ended;
    for entry in std::fs::read_dir(Path::new("/proc"))?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let child = pid.and_then(Process::read);
        ticks += child
            .filter(|it| it.parent == parent)
            .map_or(0, |it| it.ticks);
    }
    Ok(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_that_looks_like_fields() {
        let stat = "7 (a) b) S 42 7 7 0 -1 0 0 0 0 0 11 22 33 44 20 0 1";
        let read = Process::parse(stat).unwrap();
        assert_eq!((read.parent, read.ticks, read.ended), (42, 33, 77));
    }
}
