//! Reads on the side what a streamed answer used, without holding its bytes up.

use nightshift_protocol::messages::Usage;
use serde_json::Value;

/// A line longer than this is not one that tells the usage.
const LINE_BYTES: usize = 64 * 1024;

/// Collects what the events of a stream say of its cost.
#[derive(Debug, Default)]
pub(crate) struct UsageReader {
    line: Vec<u8>,
    too_long: bool,
    /// Which model answered.
    pub(crate) model: Option<String>,
    /// What was used so far, as the provider counts.
    pub(crate) usage: Usage,
    /// Roughly how many tokens of the answer went by, as we count.
    relayed: u64,
    /// Whether the provider has said that the answer is complete.
    finished: bool,
}

impl UsageReader {
    /// Takes the next bytes, wherever they were cut.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_of_line();
            } else if self.line.len() < LINE_BYTES {
                self.line.push(*byte);
            } else {
                self.too_long = true;
            }
        }
    }

    /// What the answer cost. Where it broke off, or its reader left, the last count never came: then what
    /// went by is counted, and at least `read`, so that leaving early saves nothing.
    pub(crate) fn total(&self, read: u64, most: u64) -> Usage {
        if self.finished {
            return self.usage;
        }
        Usage {
            input_tokens: match self.usage.input_tokens {
                0 => read,
                counted => counted,
            },
            output_tokens: self.usage.output_tokens.max(self.relayed.min(most)),
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            self.relayed += tokens_of(LINE_BYTES);
            return;
        }
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            return;
        };
        match event["type"].as_str() {
            Some("message_start") => {
                self.model = event["message"]["model"].as_str().map(str::to_owned);
                self.usage = total(&event["message"]["usage"]);
            }
            Some("message_delta") => {
                let late = total(&event["usage"]);
                // The deltas are running totals, and need not repeat what was read.
                self.usage.output_tokens = self.usage.output_tokens.max(late.output_tokens);
                self.usage.input_tokens = self.usage.input_tokens.max(late.input_tokens);
            }
            Some("content_block_delta") => {
                let written = event["delta"]
                    .as_object()
                    .into_iter()
                    .flat_map(|delta| delta.values());
                let bytes = written.filter_map(Value::as_str).map(str::len).sum();
                self.relayed += tokens_of(bytes);
            }
            Some("message_stop") => self.finished = true,
            Some(_) | None => {}
        }
    }
}

/// Four bytes are one token, and a piece is at least one.
fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4).max(1)).unwrap_or(u64::MAX)
}

/// What a usage object adds up to; text that went into or came from the provider's cache was read too.
pub(crate) fn total(usage: &Value) -> Usage {
    let of = |field: &str| usage[field].as_u64().unwrap_or(0);
    Usage {
        input_tokens: of("input_tokens")
            + of("cache_creation_input_tokens")
            + of("cache_read_input_tokens"),
        output_tokens: of("output_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m1\",\"usage\":{\"input_tokens\":20,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":70}}\n\n";

    #[test]
    fn the_usage_is_read_however_the_bytes_are_cut() {
        for size in [1, 7, 64, 4_096] {
            let mut reader = UsageReader::default();
            for chunk in STREAM.as_bytes().chunks(size) {
                reader.take(chunk);
            }
            assert_eq!(reader.model.as_deref(), Some("m1"));
            assert_eq!(
                reader.usage,
                Usage {
                    input_tokens: 25,
                    output_tokens: 70
                }
            );
        }
    }

    /// `model-budget`.
    #[test]
    fn an_answer_that_breaks_off_costs_what_went_by_and_a_finished_one_what_the_provider_says() {
        let delta = format!(
            "data: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{}\"}}}}\n",
            "word".repeat(100)
        );
        let mut reader = UsageReader::default();
        assert_eq!(
            reader.total(30, 1_000),
            Usage {
                input_tokens: 30,
                output_tokens: 0
            }
        );
        reader.take(STREAM.split_inclusive("\n\n").next().unwrap().as_bytes());
        reader.take(delta.repeat(3).as_bytes());
        let broken = reader.total(30, 1_000);
        assert_eq!(broken.input_tokens, 25);
        assert!((300..330).contains(&broken.output_tokens), "{broken:?}");
        assert_eq!(
            reader.total(30, 50).output_tokens,
            50,
            "never more than was allowed"
        );
        reader.take(b"data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":290}}\n");
        reader.take(b"data: {\"type\":\"message_stop\"}\n");
        assert_eq!(
            reader.total(30, 1_000),
            Usage {
                input_tokens: 25,
                output_tokens: 290
            }
        );
    }
}
