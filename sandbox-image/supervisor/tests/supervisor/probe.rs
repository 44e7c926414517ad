//! What runs in the harness's place: this very test program, started by the supervisor, doing what
//! the brief's instructions list and writing down what came of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use nightshift_protocol::Brief;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Sends a request to a host and notes the whole answer.
    Post {
        host: String,
        path: String,
        headers: String,
        body: String,
    },
    /// Tries to read a file and notes how many bytes it got, or the error.
    Read(PathBuf),
    /// Notes its own environment, status and open descriptors.
    Self_,
    /// Waits for a file next to the results.
    WaitFor(String),
    Exit(i32),
}

pub(crate) fn post(host: &str, body: &str) -> Action {
    Action::Post {
        host: host.to_owned(),
        path: "/mcp".to_owned(),
        headers: "Authorization: Bearer forged\r\nx-api-key: forged\r\n".to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) fn shell(command: &str, timeout_ms: u64) -> Action {
    Action::Post {
        host: "supervisor.local".to_owned(),
        path: "/v1/shell".to_owned(),
        headers: String::new(),
        body: serde_json::json!({ "command": command, "timeout_ms": timeout_ms }).to_string(),
    }
}

/// A request by hand, because a client would not send what an attacker sends.
pub(crate) fn exchange(socket: &Path, action: &Action) -> std::io::Result<String> {
    let Action::Post {
        host,
        path,
        headers,
        body,
    } = action
    else {
        return Ok(String::new());
    };
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn act(action: &Action, directory: &Path, socket: &Path) -> String {
    match action {
        Action::Post { .. } => {
            exchange(socket, action).unwrap_or_else(|error| format!("error: {error}"))
        }
        Action::Read(path) => match fs::read(path) {
            Ok(bytes) => format!("read {} bytes", bytes.len()),
            Err(error) => format!("error: {error}"),
        },
        Action::Self_ => {
            let environment: Vec<_> = std::env::vars().collect();
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let open: Vec<_> = fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
                .collect();
            format!("{environment:?}\n{status}\n{open:?}")
        }
        Action::WaitFor(name) => {
            while !directory.join(name).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            "there".to_owned()
        }
        #[expect(clippy::exit, reason = "the harness's exit code is what is tested")]
        Action::Exit(code) => std::process::exit(*code),
    }
}

/// Not a test: what the wrapper scripts of [`World`](crate::world::World) start.
#[test]
fn play() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the wrapper scripts start this"
    )]
    let role = std::env::var("NIGHTSHIFT_PROBE").unwrap_or_default();
    if let Some(socket) = role.strip_prefix("connect:") {
        let tried = exchange(Path::new(socket), &post("llm.test", ""));
        fs::write("connected", format!("{tried:?}")).unwrap();
        return;
    }
    if role != "harness" {
        return;
    }
    let mut brief = Vec::new();
    std::io::stdin().read_to_end(&mut brief).unwrap();
    if brief.is_empty() {
        return;
    }
    let brief: Brief = serde_json::from_slice(&brief).unwrap();
    #[expect(clippy::disallowed_methods, reason = "told by the supervisor")]
    let path = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    let (directory, socket) = (
        path("NIGHTSHIFT_SESSION_DIR"),
        path("NIGHTSHIFT_AGENT_SOCKET"),
    );
    let actions: Vec<Action> = serde_json::from_str(&brief.instructions).unwrap();
    let mut results = Vec::new();
    for action in actions {
        results.push(act(&action, &directory, &socket));
        let new = directory.join("results.new");
        fs::write(&new, serde_json::to_vec(&results).unwrap()).unwrap();
        fs::rename(new, directory.join("results.json")).unwrap();
    }
}
