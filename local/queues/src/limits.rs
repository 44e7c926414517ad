//! The numbers of SQS, as AWS documents them ("Amazon SQS quotas", API reference, late 2026).

use chrono::TimeDelta;

/// Entries of one batch request.
pub const BATCH_ENTRIES: usize = 10;
/// Bytes of one message, and of all messages of a batch together.
pub const MESSAGE_BYTES: usize = 1_048_576;
/// The smallest `MaximumMessageSize` that a queue may have.
pub const LEAST_MAXIMUM_MESSAGE_BYTES: i64 = 1_024;
/// Attributes of one message.
pub const MESSAGE_ATTRIBUTES: usize = 10;
/// Seconds that a message or a queue may delay.
pub const DELAY_SECONDS: i64 = 900;
/// Seconds that a message may stay hidden, counted from its receive.
pub const VISIBILITY_SECONDS: i64 = 43_200;
/// Seconds that a receive may wait for a message.
pub const WAIT_SECONDS: i64 = 20;
/// Seconds that a queue may keep a message, at least and at most.
pub const RETENTION_SECONDS: (i64, i64) = (60, 1_209_600);
/// Messages of one queue that may be in flight, standard and FIFO alike.
pub const IN_FLIGHT: usize = 120_000;
/// Messages of a FIFO queue in which a receive looks for groups.
pub const FIFO_SCAN: usize = 120_000;
/// Characters of a message group id and of a deduplication id.
pub const TOKEN_CHARACTERS: usize = 128;
/// Characters of a queue's name and of a batch entry's id.
pub const NAME_CHARACTERS: usize = 80;
/// Receives after which a queue may give a message up, at most.
pub const MAX_RECEIVE_COUNT: i64 = 1_000;
/// Queues or sources on one page of a listing.
pub const PAGE: i64 = 1_000;
/// Tags of one queue.
pub const TAGS: usize = 50;
/// Messages per second that a move task may move.
pub const MOVED_PER_SECOND: i64 = 500;
/// How long a FIFO queue recognises a deduplication id or a receive attempt again.
pub const DEDUPLICATION: TimeDelta = TimeDelta::minutes(5);
/// How long after its deletion a queue's name stays taken.
pub const NAME_REST: TimeDelta = TimeDelta::seconds(60);
/// How long after a purge another one is refused.
pub const PURGE_REST: TimeDelta = TimeDelta::seconds(60);
