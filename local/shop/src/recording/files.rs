//! The files of a recording, read and written.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use chrono::DateTime;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Serialize, de::DeserializeOwned};

use super::{MetricRow, Recording};
use crate::clock::stamp;

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file is missing or the disk failed.
    #[error("cannot use {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else than the format says.
    #[error("{path} does not follow the format")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A line of the metrics is not five fields.
    #[error("{path} line {line} is not a metric")]
    BadMetric {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

const METRICS_HEADER: &str = "at,service,metric,labels,value";

impl Recording {
    /// Writes all files into `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), RecordingError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        write_json(&dir.join("recording.json"), &self.manifest)?;
        write_json(&dir.join("alert.json"), &self.alert)?;
        write_json(&dir.join("topology.json"), &self.topology)?;
        write_json(&dir.join("deploys.json"), &self.deploys)?;
        write_json(&dir.join("flags.json"), &self.flags)?;
        write_gz(&dir.join("logs.ndjson.gz"), |to| {
            write_lines(to, &self.logs)
        })?;
        write_gz(&dir.join("spans.ndjson.gz"), |to| {
            write_lines(to, &self.spans)
        })?;
        write_gz(&dir.join("commits.json.gz"), |to| {
            Ok(serde_json::to_writer(to, &self.commits)?)
        })?;
        write_gz(&dir.join("files.json.gz"), |to| {
            Ok(serde_json::to_writer(to, &self.files)?)
        })?;
        write_gz(&dir.join("metrics.csv.gz"), |to| {
            writeln!(to, "{METRICS_HEADER}")?;
            for row in &self.metrics {
                let (at, value) = (stamp(row.at), row.value);
                writeln!(
                    to,
                    "{at},{},{},{},{value}",
                    row.service, row.metric, row.labels
                )?;
            }
            Ok(())
        })
    }

    /// Reads all files from `dir`.
    pub fn read(dir: &Path) -> Result<Self, RecordingError> {
        Ok(Self {
            manifest: read_json(&dir.join("recording.json"))?,
            alert: read_json(&dir.join("alert.json"))?,
            topology: read_json(&dir.join("topology.json"))?,
            deploys: read_json(&dir.join("deploys.json"))?,
            flags: read_json(&dir.join("flags.json"))?,
            logs: read_lines(&dir.join("logs.ndjson.gz"))?,
            spans: read_lines(&dir.join("spans.ndjson.gz"))?,
            commits: read_gz_json(&dir.join("commits.json.gz"))?,
            files: read_gz_json(&dir.join("files.json.gz"))?,
            metrics: read_metrics(&dir.join("metrics.csv.gz"))?,
        })
    }
}

/// Reads JSON lines as the services write them, without compression; a last line cut short is left out.
pub fn read_plain_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordingError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).map_err(malformed(path)))
        .collect()
}

/// Writes JSON for people to read.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RecordingError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(malformed(path))?;
    text.push(b'\n');
    fs::write(path, text).map_err(at(path))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordingError> {
    let text = fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&text).map_err(malformed(path))
}

fn write_lines<T: Serialize>(to: &mut impl Write, lines: &[T]) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *to, line)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

fn write_gz(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<GzEncoder<File>>) -> io::Result<()>,
) -> Result<(), RecordingError> {
    let file = File::create(path).map_err(at(path))?;
    let mut to = BufWriter::new(GzEncoder::new(file, Compression::best()));
    write(&mut to).map_err(at(path))?;
    let encoder = to
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .map_err(at(path))?;
    encoder.finish().map_err(at(path))?;
    Ok(())
}

fn open_gz(path: &Path) -> Result<BufReader<GzDecoder<File>>, RecordingError> {
    Ok(BufReader::new(GzDecoder::new(
        File::open(path).map_err(at(path))?,
    )))
}

fn read_gz_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordingError> {
    let mut text = String::new();
    open_gz(path)?.read_to_string(&mut text).map_err(at(path))?;
    serde_json::from_str(&text).map_err(malformed(path))
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordingError> {
    let mut read = Vec::new();
    for line in open_gz(path)?.lines() {
        let line = line.map_err(at(path))?;
        read.push(serde_json::from_str(&line).map_err(malformed(path))?);
    }
    Ok(read)
}

fn read_metrics(path: &Path) -> Result<Vec<MetricRow>, RecordingError> {
    let mut rows = Vec::new();
    for (index, line) in open_gz(path)?.lines().enumerate().skip(1) {
        let line = line.map_err(at(path))?;
        let row = parse_row(&line);
        let bad = || RecordingError::BadMetric {
            path: path.to_owned(),
            line: index + 1,
        };
        rows.push(row.ok_or_else(bad)?);
    }
    Ok(rows)
}

fn parse_row(line: &str) -> Option<MetricRow> {
    let mut fields = line.split(',');
    let at = DateTime::parse_from_rfc3339(fields.next()?).ok()?.to_utc();
    let (service, metric) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let (labels, value) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
    fields.next().is_none().then_some(MetricRow {
        at,
        service,
        metric,
        labels,
        value,
    })
}

fn at(path: &Path) -> impl Fn(io::Error) -> RecordingError {
    move |source| RecordingError::Io {
        path: path.to_owned(),
        source,
    }
}

fn malformed(path: &Path) -> impl Fn(serde_json::Error) -> RecordingError {
    move |source| RecordingError::Malformed {
        path: path.to_owned(),
        source,
    }
}
