//! The database's own metrics.

use tokio_postgres::Client;

use crate::telemetry::metrics::Sample;

/// What the database says about itself, past every pool.
pub(super) async fn metrics(database: &Client) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut put = |metric: &str, labels, value: f64| {
        samples.push(Sample {
            metric: metric.to_owned(),
            labels,
            value,
        });
    };
    let connections = "select s.state, count(a.pid)::float8 \
                         from (values ('active'), ('idle'), ('idle in transaction')) s (state) \
                         left join pg_stat_activity a \
                           on a.state = s.state and a.application_name = 'inventory' \
                        group by s.state order by s.state";
    for row in database.query(connections, &[]).await? {
        put(
            "pg_connections",
            vec![("state".to_owned(), row.try_get(0)?)],
            row.try_get(1)?,
        );
    }
    let totals = "select xact_commit::float8, xact_rollback::float8, tup_fetched::float8, \
                         tup_returned::float8, tup_updated::float8 \
                    from pg_stat_database where datname = 'postgres'";
    let row = database.query_one(totals, &[]).await?;
    let names = [
        "commits",
        "rollbacks",
        "rows_fetched",
        "rows_returned",
        "rows_updated",
    ];
    for (index, name) in names.iter().enumerate() {
        put(&format!("pg_{name}_total"), Vec::new(), row.try_get(index)?);
    }
    Ok(samples)
}
