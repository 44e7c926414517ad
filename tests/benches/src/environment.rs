//! On what it was measured: absolutes mean little without it.

use serde_json::{Value, json};

/// The machine, as its kernel describes it.
pub(crate) fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_mb = read("/proc/meminfo", "MemTotal:").and_then(|kb| kb.parse::<u64>().ok());
    json!({
        "cores": cores,
        "cpu": line("/proc/cpuinfo", "model name"),
        "memory_mb": memory_mb.map(|kb| kb / 1024),
        "load_before": load(),
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

/// How busy the machine was over the last minute.
pub(crate) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The first word after `name` in a file of the kernel's.
pub(crate) fn read(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..]
        .split_whitespace()
        .next()
        .map(str::to_owned)
}

fn line(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
