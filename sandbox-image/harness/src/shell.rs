//! The agent's shell, which the supervisor runs as another user.

use std::time::Duration;

use nightshift_protocol::messages::Tool;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{socket::Socket, toolbox::Outcome};

/// The tool's name towards the model.
pub const NAME: &str = "shell";

const URL: &str = "http://supervisor.local/v1/shell";
const LIMIT_BYTES: usize = 1024 * 1024;
const MAX_TIMEOUT_MS: u64 = 600_000;
/// On top of the command's own time, which the supervisor watches.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

/// How the model sees it.
#[must_use]
pub fn tool() -> Tool {
    Tool {
        name: NAME.to_owned(),
        description:
            "Runs a command with bash in an empty, isolated machine, to compute with data \
             that you already have: count, sort, join, compare. It has no network and no access to \
             the system under investigation. Files in the working directory stay. Its output is no \
             evidence; cite the tools that the data came from."
                .to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "command": { "type": "string", "description": "The command." },
                "timeout_ms": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_TIMEOUT_MS,
                    "description": "How long it may take, in milliseconds; 60000 without this.",
                },
            },
            "required": ["command"],
            "additionalProperties": false,
        }),
    }
}

/// Runs a command. A command that fails is an answer, not an error.
pub async fn call(socket: &Socket, input: &Value) -> Outcome {
    let arguments: Arguments = match serde_json::from_value(input.clone()) {
        Ok(arguments) => arguments,
        Err(error) => return Outcome::error(format!("invalid arguments: {error}")),
    };
    let patience = Duration::from_millis(
        arguments
            .timeout_ms
            .unwrap_or(MAX_TIMEOUT_MS)
            .min(MAX_TIMEOUT_MS),
    );
    let json = match serde_json::to_vec(&arguments) {
        Ok(json) => json,
        Err(error) => return Outcome::error(error.to_string()),
    };
    // Commands wait for one another, so one may have to wait for three others.
    match socket
        .post(URL, &[], json, LIMIT_BYTES, (patience + MARGIN) * 4)
        .await
    {
        Ok(answer) if answer.status.is_success() => Outcome {
            text: String::from_utf8_lossy(&answer.body).into_owned(),
            structured: None,
            is_error: false,
        },
        Ok(answer) => Outcome::error(format!(
            "the shell answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )),
        Err(error) => Outcome::error(format!("the shell could not be reached: {error}")),
    }
}
