//! The first event of each function: a real one, about something that does not exist, so that its first
//! answer includes the connection to PostgreSQL and what every invocation does, and nothing more.

use nightshift_domain::{Epoch, InvestigationId, SandboxId};
use nightshift_protocol::{Envelope, Step};
use serde_json::{Value, json};

use crate::seed::Cast;

/// What opens the operators' API.
pub(super) const TOKEN: &str = "a-token-of-the-benchmark-alone-0123456789";

/// A function and its first event.
pub(super) struct Function {
    /// The binary.
    pub(super) name: &'static str,
    /// The event in words.
    pub(super) work: &'static str,
    /// The event.
    pub(super) event: fn(&Cast) -> Value,
}

pub(super) const FUNCTIONS: [Function; 10] = [
    Function {
        name: "alert-intake",
        work: "a webhook to an address that nobody has",
        event: |_| http("POST", "/v1/hooks/nobody"),
    },
    Function {
        name: "claim",
        work: "a wake of a pool where nobody waits",
        event: |cast| step("claim.fifo", Step::ClaimWake { pool: cast.pool }),
    },
    Function {
        name: "dispatch",
        work: "a start for an investigation that does not exist",
        event: |_| {
            let (investigation, sandbox) = (InvestigationId::generate(), SandboxId::generate());
            let epoch = Epoch(1);
            step(
                "dispatch",
                Step::Dispatch {
                    investigation,
                    sandbox,
                    epoch,
                },
            )
        },
    },
    Function {
        name: "session",
        work: "an attestation without a statement",
        event: |_| http("POST", "/v1/attest"),
    },
    Function {
        name: "pool-refill",
        work: "a refill of a pool that wants nothing",
        event: |cast| step("pool-refill", Step::Refill { pool: cast.pool }),
    },
    Function {
        name: "provision",
        work: "a sandbox that does not exist",
        event: |_| {
            step(
                "provision",
                Step::Provision {
                    sandbox: SandboxId::generate(),
                },
            )
        },
    },
    Function {
        name: "retire",
        work: "a sandbox that does not exist",
        event: |_| {
            step(
                "retire",
                Step::Retire {
                    sandbox: SandboxId::generate(),
                },
            )
        },
    },
    Function {
        name: "sweep",
        work: "a whole sweep of an empty platform",
        event: |_| json!({"source": "aws.events", "detail-type": "Scheduled Event"}),
    },
    Function {
        name: "write-back",
        work: "a report that does not exist",
        event: |_| {
            let investigation = InvestigationId::generate();
            step("write-back", Step::WriteBack { investigation })
        },
    },
    Function {
        name: "api",
        work: "the first page of investigations",
        event: |_| http("GET", "/v1/investigations"),
    },
];

/// A batch of one message, as the event source mapping gives it.
fn step(queue: &str, step: Step) -> Value {
    json!({"Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "receipt",
        "body": json!(Envelope::new(step, None)).to_string(),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1763694000000",
            "SenderId": "bench",
            "ApproximateFirstReceiveTimestamp": "1763694000001",
            "MessageGroupId": "bench",
        },
        "messageAttributes": {},
        "md5OfBody": "00000000000000000000000000000000",
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:eu-west-1:000000000000:nightshift-{queue}"),
        "awsRegion": "eu-west-1",
    }]})
}

/// A request as API Gateway passes it on (payload version 2.0).
fn http(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "authorization": format!("Bearer {TOKEN}"),
            "content-type": "application/json",
            "host": "bench.execute-api.eu-west-1.amazonaws.com",
        },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "bench",
            "domainName": "bench.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "bench",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": "bench",
            },
            "requestId": "bench",
            "routeKey": "$default",
            "stage": "$default",
            "time": "22/Nov/2026:07:00:00 +0000",
            "timeEpoch": 1_763_694_000_000_i64,
        },
        "body": "{}",
        "isBase64Encoded": false,
    })
}
