//! How long each function binary takes from its start to its first answer, how much memory it uses by then,
//! and how large it is.

mod runtime;
mod work;

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nightshift_lambda::SealedFile;
use nightshift_terminal::Table;
use serde_json::{Value, json};

use self::{
    runtime::{Runtime, Told},
    work::FUNCTIONS,
};
use crate::{
    cli::ColdStart,
    database::Database,
    environment,
    figures::{Latencies, Output, millis, ms, round},
    seed,
};

/// How long one start may take before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one start led to.
struct Start {
    /// From the spawn to the question for work: what Lambda calls the init phase.
    ready: Duration,
    /// From the spawn to the answer.
    answered: Duration,
    /// The most memory it ever used, in MB.
    memory_mb: f64,
}

/// Measures every function.
pub(crate) async fn run(local: &Path, wanted: &ColdStart, output: &Output) -> Result<()> {
    let database = Database::make(local).await?;
    let measured = measure(&database, wanted).await;
    database.end().await?;
    output.end(&measured?);
    Ok(())
}

async fn measure(database: &Database, wanted: &ColdStart) -> Result<Value> {
    let cast = seed::cast(&database.admin, 1).await?;
    let programs = std::env::current_exe().context("this program does not know where it is")?;
    let programs = programs
        .parent()
        .context("this program has no folder")?
        .to_owned();
    let folder = tempfile::tempdir()?;
    let mut table = Table::new([
        "function",
        "ready p50",
        "p99 ms",
        "answer p50",
        "p99 ms",
        "MB",
        "bin MB",
        "zip MB",
    ]);
    let mut functions = Vec::new();
    let runtime = Runtime::serve().await?;
    let variables = environment_of(database, &runtime, folder.path())?;
    for function in FUNCTIONS {
        let binary = programs.join(function.name);
        if !binary.is_file() {
            bail!("{} is not built; ./dev bench builds it", binary.display());
        }
        let event = (function.event)(&cast);
        let (mut ready, mut answered, mut memory) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..wanted.runs {
            let start = start(&runtime, &binary, &variables, &event).await?;
            ready.push(millis(start.ready));
            answered.push(millis(start.answered));
            memory = memory.max(start.memory_mb);
        }
        let (ready, answered) = (Latencies(ready), Latencies(answered));
        let (size, zipped) = sizes(&binary)?;
        table.row(&[
            function.name.to_owned(),
            ms(ready.percentiles().p50),
            ms(ready.percentiles().p99),
            ms(answered.percentiles().p50),
            ms(answered.percentiles().p99),
            format!("{memory:.1}"),
            format!("{size:.1}"),
            format!("{zipped:.1}"),
        ]);
        functions.push(json!({
            "function": function.name, "work": function.work, "ready_ms": ready.json(),
            "answer_ms": answered.json(), "memory_mb": round(memory), "binary_mb": round(size),
            "zip_mb": round(zipped),
        }));
    }
    let title = format!("from spawn to first answer, {} runs each", wanted.runs);
    Output::table(&title, &table);
    for function in FUNCTIONS {
        Output::line(&format!("{:<13} {}", function.name, function.work));
    }
    Ok(json!({
        "bench": "cold-start", "machine": environment::describe(), "functions": functions,
    }))
}

/// What every function asks of its environment; each takes what it needs.
fn environment_of(
    database: &Database,
    runtime: &Runtime,
    folder: &Path,
) -> Result<BTreeMap<&'static str, String>> {
    let secrets = folder.join("secrets.sealed");
    let held = ["api/token", "machines/token", "webhook/bench"]
        .map(|name| (name.to_owned(), work::TOKEN.to_owned()));
    SealedFile::at(&secrets).seal(&held.into())?;
    let here = runtime.url();
    Ok(BTreeMap::from([
        ("DATABASE_URL", database.url().to_owned()),
        ("NIGHTSHIFT_SECRETS", secrets.display().to_string()),
        (
            "NIGHTSHIFT_QUEUES",
            format!("{here}/000000000000/nightshift-"),
        ),
        ("NIGHTSHIFT_API_TOKEN_REFS", "api/token".to_owned()),
        ("NIGHTSHIFT_MACHINES_URL", here.clone()),
        ("NIGHTSHIFT_MACHINES_ORG", "bench".to_owned()),
        ("NIGHTSHIFT_MACHINES_TOKEN", "machines/token".to_owned()),
        ("NIGHTSHIFT_MACHINE_ENV", "{}".to_owned()),
        ("NIGHTSHIFT_STATEMENT_ISSUER", here.clone()),
        ("NIGHTSHIFT_TOKEN_ISSUER", here.clone()),
        (
            "NIGHTSHIFT_SIGNING_KEY",
            folder.join("key.pem").display().to_string(),
        ),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
        ("AWS_ENDPOINT_URL_SQS", here),
        ("AWS_LAMBDA_RUNTIME_API", runtime.address()),
        ("AWS_LAMBDA_FUNCTION_NAME", "bench".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
        ("NIGHTSHIFT_LOG", "error".to_owned()),
    ]))
}

async fn start(
    runtime: &Runtime,
    binary: &Path,
    variables: &BTreeMap<&'static str, String>,
    event: &Value,
) -> Result<Start> {
    let mut told = runtime.expect(event.clone());
    let began = Instant::now();
    let mut child = Command::new(binary)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let told = tokio::time::timeout(PATIENCE, async {
        let mut ready = None;
        while let Some(said) = told.recv().await {
            match said {
                Told::Ready(at) => ready = Some(at),
                Told::Answered(at) => return Ok((ready.unwrap_or(at), at)),
                Told::Failed(why) => bail!("{} failed: {why}", binary.display()),
            }
        }
        bail!("the runtime ended")
    })
    .await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let _ = child.kill();
    let _ = child.wait();
    let (ready, answered) =
        told.with_context(|| format!("{} did not answer", binary.display()))??;
    Ok(Start {
        ready: ready - began,
        answered: answered - began,
        memory_mb: peak_mb(&status?).context("the kernel told no VmHWM")?,
    })
}

/// The most memory a process ever held, from its `/proc/PID/status`.
fn peak_mb(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kb / 1024.0)
}

/// The binary, and what of it a deployment carries: deflated, as in its zip.
#[expect(
    clippy::cast_precision_loss,
    reason = "a binary is far below 2^52 bytes"
)]
fn sizes(binary: &Path) -> Result<(f64, f64)> {
    const MB: f64 = 1_048_576.0;
    let bytes = std::fs::read(binary)?;
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflated.write_all(&bytes)?;
    let zipped = deflated.finish()?.len();
    Ok((bytes.len() as f64 / MB, zipped as f64 / MB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_megabytes() {
        assert_eq!(peak_mb("VmPeak:\t9 kB\nVmHWM:\t  2048 kB\n"), Some(2.0));
        assert_eq!(peak_mb("VmPeak:\t9 kB\n"), None);
    }
}
