//! Ministack: where it is, and where its SQS is known to differ from AWS's.

/// The checks that version 1.5.33 fails, and how.
pub(crate) const DIVERGENCES: &[(&str, &str)] = &[
    ("queue-names", "takes spaces and more than 80 characters"),
    ("fifo-names", "takes .fifo names without the attribute"),
    ("name-rests-after-deletion", "takes the name again at once"),
    ("defaults", "does not know SqsManagedSseEnabled"),
    ("one-purge-a-minute", "purges as often as asked"),
    ("fifo-attributes-on-standard", "takes them"),
    ("unknown-attribute", "takes any attribute"),
    ("message-delay-range", "takes any delay"),
    ("receive-wait-range", "waits for more than 20 seconds"),
    ("receive-visibility-range", "hides for more than 12 hours"),
    ("change-visibility-range", "hides for more than 12 hours"),
    ("attributes-count-as-size", "counts the body only"),
    ("attribute-count", "takes any number of attributes"),
    ("attribute-names", "takes any name"),
    ("attribute-types", "takes any type and empty values"),
    ("deduplication-id-on-standard", "takes it"),
    (
        "stale-handle-deletes-nothing",
        "answers ReceiptHandleIsInvalid on standard queues",
    ),
    ("delete-twice", "answers ReceiptHandleIsInvalid"),
    (
        "twelve-hours-in-all",
        "starts the 12 hours over at every change",
    ),
    ("not-in-flight", "hides a visible message"),
    ("deleted-message", "answers ReceiptHandleIsInvalid"),
    (
        "dead-letter-queue-of-same-type",
        "takes a dead-letter queue of the other type",
    ),
    ("missing-dead-letter-queue", "answers InvalidAttributeValue"),
    ("max-receive-count-range", "answers InvalidAttributeValue"),
    ("redrive-permission", "ignores RedriveAllowPolicy"),
    ("dead-letter-sources", "has no ListDeadLetterSourceQueues"),
    ("move-back", "has no StartMessageMoveTask"),
    ("move-elsewhere", "has no StartMessageMoveTask"),
    ("move-from-dead-letters-only", "has no StartMessageMoveTask"),
    (
        "expired-handle-is-refused",
        "deletes with an expired handle on FIFO queues",
    ),
    ("receive-attempt", "ignores ReceiveRequestAttemptId"),
    ("throughput-needs-scope", "takes any combination"),
    (
        "one-receive-fills-with-the-group",
        "takes messages of all groups in turn",
    ),
    ("error-form", "leaves the namespace out of __type"),
    ("unsigned-request", "answers without a signature"),
    (
        "malformed-request",
        "takes broken JSON for an empty request",
    ),
];

/// Where it listens.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the suite's whole configuration"
)]
pub(crate) fn url() -> String {
    std::env::var("NIGHTSHIFT_MINISTACK_URL")
        .expect("NIGHTSHIFT_MINISTACK_URL: start it with ./dev test --ministack")
}
