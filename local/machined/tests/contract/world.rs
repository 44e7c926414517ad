//! A machined of one's own, with an image whose program is a shell script.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nightshift_machines::{
    Client, Init, Machine, MachineConfig, Mount, NewMachine, NewVolume, Restart, RestartPolicy,
    WaitFor,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::vm_image;
pub(crate) use crate::vm_image::is_qemu;

pub(crate) const TOKEN: &str = "contract-token";
pub(crate) const ORG: &str = "acme";
pub(crate) const REGION: &str = "here";
/// How long anything may take: a virtual machine without help of the processor boots for seconds.
pub(crate) const SOON: Duration = Duration::from_mins(1);
/// Speaks HTTP over a unix socket: SOCKET METHOD PATH HOST [BODY-BYTES [HEADER]].
const HTTP: &str = r#"
use IO::Socket::UNIX; $| = 1; $SIG{PIPE} = 'IGNORE';
my ($path, $method, $uri, $host, $body, $header) = @ARGV;
my $s = IO::Socket::UNIX->new(Peer => $path) or do { print "NO CONNECTION: $!\n"; exit };
$body = 'x' x $1 if ($body // '') =~ /^(\d+)x$/;
$header = defined $header ? "$header\r\n" : "Connection: close\r\n";
my $length = length($body // '');
syswrite $s, "$method $uri HTTP/1.1\r\nHost: $host\r\n${header}Content-Length: $length\r\n\r\n";
my $sent = 0;
while ($sent < $length) { my $n = syswrite $s, $body, 65536, $sent; last unless $n; $sent += $n }
while (sysread $s, my $b, 65536) { syswrite STDOUT, $b }
print "\nEND\n";
"#;

/// How machined is started.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) arguments: Vec<String>,
    pub(crate) rate_limits: bool,
    /// A host user to run as, instead of the one who runs the tests.
    pub(crate) user: Option<u32>,
    /// Whether that user has subordinate users.
    pub(crate) subordinate: bool,
    /// Whether its directories lie where only root can go.
    pub(crate) closed: bool,
    /// A file in its directory for what it logs, to be read with [`World::logged`].
    pub(crate) log: Option<&'static str>,
}

pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) image: String,
    options: Options,
    process: Option<Child>,
}

/// A machine with its app and volume.
pub(crate) struct Made {
    pub(crate) app: String,
    pub(crate) volume: String,
    pub(crate) machine: Machine,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        Self::start(Options {
            arguments,
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn start(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if !options.closed {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let base = format!("http://127.0.0.1:{port}");
        let hex = "5a".repeat(32);
        write_image(&directory.path().join("images").join(&hex), &hex);
        if is_qemu() {
            vm_image::fill(&directory.path().join("images").join(&hex));
        }
        fs::create_dir(directory.path().join("state")).unwrap();
        if let Some(user) = options.user {
            std::os::unix::fs::chown(directory.path().join("state"), Some(user), Some(user))
                .unwrap();
        }
        let mut world = Self {
            client: Client::new(&base, TOKEN.into()).unwrap(),
            image: format!("registry.test/probe@sha256:{hex}"),
            base,
            directory,
            options,
            process: None,
        };
        world.launch().await;
        world
    }

    /// Starts machined again on the same state.
    pub(crate) async fn launch(&mut self) {
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_machined"));
        if self.options.user.is_some() {
            let copy = self.directory.path().join("machined");
            if !copy.exists() {
                fs::copy(&program, &copy).unwrap();
            }
            program = copy;
        }
        let elsewhere = self.options.user.map(|_| self.directory.path());
        let mut command = self.launcher(&program);
        command
            .args(["--listen", self.base.trim_start_matches("http://")])
            .args(["--org", ORG, "--region", REGION, "--exit-with-parent"])
            .arg("--state")
            .arg(self.state())
            .arg("--images")
            .arg(self.directory.path().join("images"))
            .args(vm_image::arguments(elsewhere))
            .args(&self.options.arguments)
            .env("MACHINED_TOKEN", TOKEN)
            .stdin(Stdio::piped());
        if !self.options.rate_limits {
            command.arg("--no-rate-limits");
        }
        if let Some(name) = self.options.log {
            command.stderr(fs::File::create(self.directory.path().join(name)).unwrap());
        }
        self.process = Some(command.spawn().unwrap());
        let began = Instant::now();
        while reqwest::get(format!("{}/v1/platform/regions", self.base))
            .await
            .is_err()
        {
            assert!(began.elapsed() < SOON, "machined does not answer");
            pause().await;
        }
    }

    /// The program, as the user it is to run as.
    fn launcher(&self, program: &Path) -> Command {
        let Some(user) = self.options.user else {
            return Command::new(program);
        };
        if !self.options.subordinate {
            let mut command = Command::new(program);
            command.uid(user).gid(user);
            return command;
        }
        let ranges = self.directory.path().join("ranges");
        fs::write(&ranges, format!("{user}:300000:65536\n")).unwrap();
        // In a mount namespace of its own, so that the machine's files stay as they are.
        let script = "mount --bind $1 /etc/subuid && mount --bind $1 /etc/subgid; u=$2; shift 2; \
                      exec setpriv --reuid $u --regid $u --clear-groups \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "/bin/sh", "-c", script, "sh"])
            .arg(ranges)
            .arg(user.to_string())
            .arg(program);
        command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// What it has logged since its start.
    pub(crate) fn logged(&self) -> String {
        let name = self.options.log.unwrap();
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// Ends its standard input, and waits for it to exit by itself.
    pub(crate) fn hang_up(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().unwrap();
        drop(process.stdin.take());
        process.wait().unwrap()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) async fn app(&self, name: &str) -> String {
        self.client.create_app(name, ORG, name).await.unwrap();
        name.to_owned()
    }

    pub(crate) fn config(&self, script: &str) -> MachineConfig {
        MachineConfig {
            image: self.image.clone(),
            init: Some(Init {
                exec: Some(["/bin/sh", "-c", script].map(str::to_owned).into()),
            }),
            restart: Some(Restart {
                policy: RestartPolicy::No,
                max_retries: None,
            }),
            ..MachineConfig::default()
        }
    }

    pub(crate) fn new_machine(&self, name: &str, script: &str) -> NewMachine {
        NewMachine {
            name: name.to_owned(),
            region: REGION.to_owned(),
            config: self.config(script),
            skip_launch: true,
        }
    }

    /// An app of that name with a volume at `/data` and a machine that rests.
    pub(crate) async fn make(&self, name: &str, script: &str) -> Made {
        let app = self.app(name).await;
        let new = NewVolume::for_sandbox("data", REGION, 1);
        let volume = self.client.create_volume(&app, &new).await.unwrap().id;
        let mut new = self.new_machine(name, script);
        new.config.mounts = vec![Mount {
            volume: volume.clone(),
            path: "/data".to_owned(),
        }];
        let machine = self.client.create_machine(&app, &new).await.unwrap();
        self.client
            .wait(&app, &machine.id, WaitFor::Stopped, SOON)
            .await
            .unwrap();
        Made {
            app,
            volume,
            machine,
        }
    }

    /// Runs a script in a machine of its own and returns what it printed.
    pub(crate) async fn run(&self, name: &str, script: &str) -> String {
        let made = self.make(name, script).await;
        self.client
            .start(&made.app, &made.machine.id)
            .await
            .unwrap();
        self.stopped(&made).await;
        self.printed(&made, "").await
    }

    pub(crate) async fn stopped(&self, made: &Made) {
        self.client
            .wait(&made.app, &made.machine.id, WaitFor::Stopped, SOON)
            .await
            .unwrap();
    }

    /// What the machine printed, once that holds `text`.
    pub(crate) async fn printed(&self, made: &Made, text: &str) -> String {
        let path = format!("/v1/apps/{}/machines/{}/logs", made.app, made.machine.id);
        let began = Instant::now();
        loop {
            let printed = self.call("GET", &path, None).await.text().await.unwrap();
            if printed.contains(text) && !(text.is_empty() && printed.is_empty()) {
                return printed;
            }
            assert!(began.elapsed() < SOON, "no `{text}` in:\n{printed}");
            pause().await;
        }
    }

    /// A call as it is, without the client.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Response {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}{path}", self.base);
        let mut request = http
            .request(method.parse().unwrap(), url)
            .bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// A call that is refused: its status and its sentence.
    pub(crate) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let answer = self.call(method, path, body).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (
            status,
            body["error"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(crate) async fn fault(&self, operation: &str, fault: &str) {
        let body = serde_json::json!({ "operation": operation, "fault": fault, "times": 1 });
        let answer = self.call("POST", "/faults", Some(body)).await;
        assert_eq!(answer.status(), 201);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

fn write_image(directory: &Path, hex: &str) {
    let rootfs = directory.join("rootfs");
    fs::create_dir_all(rootfs.join("etc")).unwrap();
    fs::create_dir_all(rootfs.join("opt")).unwrap();
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(rootfs.join("opt/http.pl"), HTTP).unwrap();
    let manifest = serde_json::json!({
        "name": "probe",
        "digest": format!("sha256:{hex}"),
        "entrypoint": ["/bin/sh", "-c", "echo the image's own; exec sleep 60"],
        "env": { "FROM_IMAGE": "yes" },
        "base": if is_qemu() { "rootfs" } else { "host-usr" },
    });
    fs::write(directory.join("image.json"), manifest.to_string()).unwrap();
}

/// Processes on this machine whose command line holds `text`, ours excepted.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let line = fs::read(path.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (pid != std::process::id() && line.contains(text)).then_some(line)
    });
    lines.collect()
}

/// Processes of the host that a machine's program shows as: itself, or the virtual machine it is in.
pub(crate) fn traces(made: &Made, text: &str) -> Vec<String> {
    processes_with(if is_qemu() { &made.machine.id } else { text })
}

/// Waits until `done` holds.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < SOON, "{what}");
        pause().await;
    }
}

pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says loudly what was not tried.
#[expect(
    clippy::print_stderr,
    reason = "a test that tries nothing must not look like one that did"
)]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
