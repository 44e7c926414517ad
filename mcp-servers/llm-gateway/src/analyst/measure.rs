//! What metric names and log texts speak of, by the general vocabulary of operating software.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words::words;

/// What a series measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// How much of something limited is taken.
    Level,
    /// How many, or how long, something waits for it.
    Waiting,
    /// How much of it there is.
    Limit,
    /// How many requests arrive.
    Demand,
    /// How many of them fail.
    Errors,
    /// How long they take.
    Latency,
    /// How often a cache has the answer.
    CacheHits,
    /// How often it has not.
    CacheMisses,
    /// How often a process starts again.
    Restarts,
    /// Anything else.
    Other,
}

/// Things of which there is only so much.
const LIMITED: &[&str] = &[
    "pool",
    "connection",
    "connections",
    "conn",
    "conns",
    "thread",
    "threads",
    "worker",
    "workers",
    "handle",
    "handles",
    "fd",
    "fds",
    "descriptors",
    "memory",
    "heap",
    "rss",
    "disk",
    "permits",
    "slots",
    "semaphore",
    "goroutines",
    "queue",
    "sockets",
    "inodes",
    "buffer",
];

/// What a series measures, from its name and labels.
pub(crate) fn measure(metric: &str, labels: &BTreeMap<String, String>) -> Measure {
    let name = words(metric);
    let has = |wanted: &[&str]| name.iter().any(|word| wanted.contains(&word.as_str()));
    let labelled = |wanted: &[&str]| {
        labels.iter().any(|(key, value)| {
            ["status", "outcome", "result", "code", "state", "class"].contains(&key.as_str())
                && (wanted.contains(&value.to_lowercase().as_str())
                    || (wanted.contains(&"5xx") && is_server_error(value)))
        })
    };
    let pooled = has(LIMITED);
    if has(&["hit", "hits"]) {
        return Measure::CacheHits;
    }
    if has(&["miss", "misses", "evictions", "evicted"]) {
        return Measure::CacheMisses;
    }
    if has(&["restart", "restarts", "crash", "crashes", "oom", "kills"]) {
        return Measure::Restarts;
    }
    if has(&[
        "wait", "waiting", "waiters", "pending", "queued", "acquire", "blocked",
    ]) {
        return Measure::Waiting;
    }
    // A busy processor is an effect: nobody forgets to give it back.
    if has(&["cpu"]) {
        return Measure::Other;
    }
    let occupied = has(&[
        "use",
        "used",
        "active",
        "open",
        "busy",
        "usage",
        "utilization",
        "idle",
    ]);
    if pooled && !occupied && has(&["max", "limit", "size", "capacity", "total"]) && !has(&["rate"])
    {
        return Measure::Limit;
    }
    if has(&[
        "error",
        "errors",
        "failed",
        "failures",
        "failure",
        "timeouts",
        "5xx",
        "exceptions",
    ]) || labelled(&["error", "failed", "failure", "5xx", "timeout"])
    {
        return Measure::Errors;
    }
    if has(&[
        "duration",
        "latency",
        "seconds",
        "ms",
        "milliseconds",
        "micros",
    ]) {
        return Measure::Latency;
    }
    if pooled || (occupied && has(&["in"])) || has(&["saturation", "utilization"]) {
        return Measure::Level;
    }
    if has(&[
        "request",
        "requests",
        "rps",
        "qps",
        "throughput",
        "calls",
        "visits",
        "hits",
    ]) {
        return Measure::Demand;
    }
    Measure::Other
}

fn is_server_error(value: &str) -> bool {
    value.len() == 3 && value.starts_with('5')
}

/// What a log text complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Complaint {
    /// Something limited ran out.
    Exhausted,
    /// A certificate, key or licence ran out.
    Credential,
    /// Machines, network, cloud.
    Infrastructure,
    /// More demand than the limit set for it.
    Overload,
    /// Input or stored data of an unexpected form.
    Data,
    /// An answer that came too late.
    Late,
}

const PHRASES: &[(Complaint, &[&str])] = &[
    (
        Complaint::Credential,
        &[
            "certificate has expired",
            "certificate expired",
            "certificate is expired",
            "certificate verify",
            "x509",
            "token expired",
            "token has expired",
            "license expired",
            "licence expired",
            "key expired",
            "credentials expired",
            "credential expired",
            "invalid api key",
            "certificate is not valid",
        ],
    ),
    (
        Complaint::Exhausted,
        &[
            "exhaust",
            "acquir",
            "too many open",
            "too many connections",
            "out of memory",
            "no free",
            "no available connection",
            "no connection available",
            "waiting for a connection",
            "waiting for connection",
            "remaining connection slots",
            "cannot allocate",
            "pool is full",
            "pool timed out",
            "oomkilled",
            "oom kill",
        ],
    ),
    (
        Complaint::Infrastructure,
        &[
            "no route to host",
            "network is unreachable",
            "network unreachable",
            "no space left",
            "read-only file system",
            "node not ready",
            "nodenotready",
            "availability zone",
            "region is",
            "in region",
            "temporary failure in name resolution",
            "name resolution",
            "i/o error",
            "packet loss",
            "host is down",
            "evicted",
        ],
    ),
    (
        Complaint::Overload,
        &[
            "overload",
            "load shed",
            "shedding",
            "queue full",
            "queue is full",
            "rate limit",
            "too many requests",
            "throttl",
            "backpressure",
        ],
    ),
    (
        Complaint::Data,
        &[
            "malformed",
            "cannot parse",
            "could not parse",
            "failed to parse",
            "deserializ",
            "unexpected character",
            "invalid utf",
            "violates",
            "schema mismatch",
            "out of range",
            "unknown variant",
            "invalid value",
        ],
    ),
    (
        Complaint::Late,
        &["timed out", "timeout", "deadline exceeded", "too slow"],
    ),
];

/// What a log text complains of, where its words tell.
pub(crate) fn complaint(text: &str) -> Option<Complaint> {
    let text = text.to_lowercase();
    PHRASES
        .iter()
        .find(|(_, phrases)| phrases.iter().any(|phrase| text.contains(phrase)))
        .map(|(complaint, _)| *complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: &str) -> Measure {
        measure(metric, &BTreeMap::new())
    }

    #[test]
    fn names_tell_what_is_measured() {
        for (metric, expected) in [
            ("db_pool_in_use", Measure::Level),
            ("db_pool_waiting", Measure::Waiting),
            ("db_pool_wait_seconds:p95", Measure::Waiting),
            ("db_pool_max", Measure::Limit),
            ("db_pool_size", Measure::Limit),
            ("process_open_fds", Measure::Level),
            ("memory_rss_bytes", Measure::Level),
            ("http_requests_total:rate", Measure::Demand),
            ("http_request_errors_total:rate", Measure::Errors),
            ("http_request_duration_seconds:p95", Measure::Latency),
            ("cache_hit_ratio", Measure::CacheHits),
            ("cache_misses_total:rate", Measure::CacheMisses),
            ("container_restarts_total:rate", Measure::Restarts),
            ("build_info", Measure::Other),
            ("host_cpu_utilization", Measure::Other),
        ] {
            assert_eq!(of(metric), expected, "{metric}");
        }
    }

    #[test]
    fn a_status_label_makes_requests_errors() {
        let failed = BTreeMap::from([("status".to_owned(), "503".to_owned())]);
        assert_eq!(
            measure("http_requests_total:rate", &failed),
            Measure::Errors
        );
        let fine = BTreeMap::from([("status".to_owned(), "200".to_owned())]);
        assert_eq!(measure("http_requests_total:rate", &fine), Measure::Demand);
    }

    #[test]
    fn words_tell_an_exhausted_pool_from_a_late_answer() {
        assert_eq!(
            complaint("timed out acquiring a connection"),
            Some(Complaint::Exhausted)
        );
        assert_eq!(
            complaint("request timed out after <*> ms"),
            Some(Complaint::Late)
        );
        assert_eq!(complaint("order placed"), None);
    }
}
