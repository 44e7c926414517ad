//! What a mapping can be told, and what Lambda refuses.

use std::time::Duration;

/// Messages that one receive can bring.
const RECEIVE: usize = 10;

/// A mapping from a queue to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The queue's ARN.
    pub queue_arn: String,
    /// The region that events name.
    pub region: String,
    /// The function's name.
    pub function: String,
    /// Messages in one invocation.
    pub batch_size: usize,
    /// How long messages may be gathered into one batch; zero is not at all.
    pub window: Duration,
    /// Invocations at once.
    pub maximum_concurrency: Option<usize>,
    /// Whether the function's answer says which messages failed. Without it every answer is a success.
    pub reports_item_failures: bool,
}

/// What Lambda looks at besides the mapping itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFacts {
    /// Whether the queue is FIFO.
    pub is_fifo: bool,
    /// How long the queue hides a received message.
    pub visibility: Duration,
    /// How long the function may take.
    pub function_timeout: Duration,
}

/// Lambda does not create such a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Above 10 on FIFO, above 10,000 elsewhere, or none.
    #[error("a batch of {size} messages: 1 to {most} are taken from this queue")]
    BatchSize {
        /// What was asked for.
        size: usize,
        /// What can be.
        most: usize,
    },
    /// More than one receive brings must be gathered.
    #[error("a batch above 10 messages needs a batching window of at least 1 s")]
    WindowMissing,
    /// FIFO queues have no window, others one of at most five minutes.
    #[error("a batching window of {} s: at most {} s are taken from this queue", asked.as_secs(), most.as_secs())]
    Window {
        /// What was asked for.
        asked: Duration,
        /// What can be.
        most: Duration,
    },
    /// 2 to 1,000.
    #[error("a maximum concurrency of {0}: 2 to 1000 are taken")]
    MaximumConcurrency(usize),
    /// A message would come back while it is still being worked on.
    #[error(
        "queue visibility timeout: {} seconds is less than function timeout: {} seconds",
        visibility.as_secs(), function.as_secs()
    )]
    Visibility {
        /// The queue's.
        visibility: Duration,
        /// The function's.
        function: Duration,
    },
}

impl Settings {
    /// Whether Lambda would create the mapping. A visibility below six times the function's timeout is
    /// taken, and warned about.
    pub fn check(&self, facts: SourceFacts) -> Result<(), Refused> {
        let most = if facts.is_fifo { RECEIVE } else { 10_000 };
        if !(1..=most).contains(&self.batch_size) {
            return Err(Refused::BatchSize {
                size: self.batch_size,
                most,
            });
        }
        let most = Duration::from_secs(if facts.is_fifo { 0 } else { 300 });
        if self.window > most {
            return Err(Refused::Window {
                asked: self.window,
                most,
            });
        }
        if self.batch_size > RECEIVE && self.window < Duration::from_secs(1) {
            return Err(Refused::WindowMissing);
        }
        if let Some(asked) = self
            .maximum_concurrency
            .filter(|asked| !(2..=1_000).contains(asked))
        {
            return Err(Refused::MaximumConcurrency(asked));
        }
        let (visibility, function) = (facts.visibility, facts.function_timeout);
        if visibility < function {
            return Err(Refused::Visibility {
                visibility,
                function,
            });
        }
        if visibility < function * 6 + self.window {
            tracing::warn!(
                queue = self.queue_arn,
                visibility_s = visibility.as_secs(),
                function_s = function.as_secs(),
                "The queue's visibility should be six times the function's timeout"
            );
        }
        Ok(())
    }

    /// Messages to ask a receive for when `held` are gathered.
    pub(super) fn room(&self, held: usize) -> usize {
        self.batch_size.saturating_sub(held).min(RECEIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            queue_arn: "arn:aws:sqs:eu-west-1:123456789012:q".into(),
            region: "eu-west-1".into(),
            function: "f".into(),
            batch_size: 10,
            window: Duration::ZERO,
            maximum_concurrency: None,
            reports_item_failures: true,
        }
    }

    fn facts(is_fifo: bool) -> SourceFacts {
        SourceFacts {
            is_fifo,
            visibility: Duration::from_mins(3),
            function_timeout: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_fifo_source_has_at_most_ten_messages_and_no_window() {
        assert_eq!(settings().check(facts(true)), Ok(()));
        let eleven = Settings {
            batch_size: 11,
            ..settings()
        };
        assert_eq!(
            eleven.check(facts(true)),
            Err(Refused::BatchSize { size: 11, most: 10 })
        );
        let window = Settings {
            window: Duration::from_secs(1),
            ..settings()
        };
        assert!(matches!(
            window.check(facts(true)),
            Err(Refused::Window { .. })
        ));
        assert_eq!(window.check(facts(false)), Ok(()));
    }

    #[test]
    fn more_than_ten_messages_need_a_window_and_ten_thousand_are_the_most() {
        let many = |batch_size, seconds| Settings {
            batch_size,
            window: Duration::from_secs(seconds),
            ..settings()
        };
        assert_eq!(many(11, 0).check(facts(false)), Err(Refused::WindowMissing));
        assert_eq!(many(11, 1).check(facts(false)), Ok(()));
        assert_eq!(many(10_000, 300).check(facts(false)), Ok(()));
        assert!(many(10_001, 1).check(facts(false)).is_err());
        assert!(many(0, 0).check(facts(false)).is_err());
        assert!(many(1, 301).check(facts(false)).is_err());
    }

    #[test]
    fn concurrency_is_limited_to_two_to_a_thousand() {
        for (asked, taken) in [(1, false), (2, true), (1_000, true), (1_001, false)] {
            let limited = Settings {
                maximum_concurrency: Some(asked),
                ..settings()
            };
            assert_eq!(limited.check(facts(false)).is_ok(), taken, "{asked}");
        }
    }

    #[test]
    fn a_visibility_below_the_functions_timeout_is_refused_and_one_below_six_times_is_not() {
        let with = |seconds| SourceFacts {
            visibility: Duration::from_secs(seconds),
            ..facts(true)
        };
        assert!(matches!(
            settings().check(with(29)),
            Err(Refused::Visibility { .. })
        ));
        assert_eq!(settings().check(with(30)), Ok(()));
        assert_eq!(settings().check(with(180)), Ok(()));
    }
}
