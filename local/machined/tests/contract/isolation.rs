//! What a sandbox sees of the machine it runs on: nothing.

use std::{fs, net::TcpListener, os::unix::fs::MetadataExt};

use crate::world::{Options, World, is_qemu, is_root, skipped};

/// Everything below, printed by one script, because each boot costs.
const LOOK: &str = r#"
echo "hostname=$(cat /proc/sys/kernel/hostname)"
echo "interfaces=$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \n')"
echo "routes=$(tail -n +2 /proc/net/route | wc -l)"
for d in /proc/[0-9]*; do [ -n "$(tr -d '\0' < $d/cmdline)" ] && echo "process=$(cut -d' ' -f2 $d/stat)"; done
echo "top=$(ls -A / | tr '\n' ' ')"
echo "etc=$(ls -A /etc | tr '\n' ' ')"
for f in $(ls /proc/self/fd); do echo "fd=$f"; done
echo "first=$(tr '\0' ' ' < /proc/1/cmdline)"
echo "first-env=$(tr '\0' ' ' < /proc/1/environ 2>&1)"
for p in /root /home /etc/shadow /etc/hostname /sys/class /sys/kernel /sys/fs/bpf /var /srv /mnt; do [ -e $p ] && echo "sees=$p"; done
for p in / /usr /etc /opt /.fly; do touch $p/x 2>/dev/null && echo "wrote=$p"; done
for p in /tmp /run /data; do touch $p/x && echo "may-write=$p"; done
echo "env=$(env | cut -d= -f1 | sort | tr '\n' ' ')"
"#;

fn values<'a>(printed: &'a str, key: &str) -> Vec<&'a str> {
    let key = format!("{key}=");
    printed
        .lines()
        .filter_map(|line| line.strip_prefix(&key))
        .map(str::trim)
        .collect()
}

/// What holds for every sandbox, whoever runs machined.
pub(crate) async fn sees_nothing_of_the_host(world: &World) {
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let port = host.local_addr().unwrap().port();
    let dial = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo reached=host");
    let other = world.make("other", "exec sleep 62.25").await;
    world
        .client
        .start("other", &other.machine.id)
        .await
        .unwrap();

    let script = format!("{LOOK}\n/bin/bash -c '{dial}'; echo END");
    let made = world.make("look", &script).await;
    world.client.start("look", &made.machine.id).await.unwrap();
    world.stopped(&made).await;
    let printed = world.printed(&made, "END").await;
    let all = |key| values(&printed, key);

    assert_eq!(all("hostname"), [made.machine.id.as_str()]);
    assert_eq!(all("interfaces"), ["lo"], "{printed}");
    assert_eq!(all("routes"), ["0"]);
    assert_eq!(all("reached"), [""; 0], "the host's loopback answered");
    assert!(host.accept().is_err());
    let known = [
        "(bwrap)", "(init)", "(sh)", "(cut)", "(ls)", "(tr)", "(cat)",
    ];
    assert!(
        all("process").iter().all(|name| known.contains(name)),
        "{printed}"
    );
    assert!(all("process").len() <= 4, "{printed}");
    let top = ".fly bin data dev etc lib lib64 opt proc run sbin sys tmp usr";
    let allowed: Vec<&str> = top.split(' ').collect();
    assert!(
        all("top")[0].split(' ').all(|name| allowed.contains(&name)),
        "{printed}"
    );
    assert_eq!(all("etc"), ["alternatives ld.so.cache passwd"]);
    assert_eq!(all("sees"), [""; 0]);
    assert_eq!(all("wrote"), [""; 0], "the root filesystem is read-only");
    assert_eq!(all("may-write"), ["/tmp", "/run", "/data"]);
    assert_eq!(all("fd"), ["0", "1", "2", "3"], "3 is the listing itself");
    let state = world.state().display().to_string();
    assert!(!all("first")[0].contains(&state), "{printed}");
    assert!(!printed.contains("MACHINED_TOKEN") && !printed.contains(crate::world::TOKEN));
    let env = "FLY_APP_NAME FLY_MACHINE_ID FLY_MACHINE_VERSION FLY_REGION FROM_IMAGE \
               NIGHTSHIFT_UIDS PATH PWD";
    assert_eq!(all("env"), [env]);
}

#[tokio::test]
async fn programs_of_a_sandbox_reach_each_other_on_its_own_loopback() {
    let world = World::new().await;
    let script = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, \
                  LocalAddr => \"127.0.0.1\") or die \"no port: $!\"; \
                  $c = IO::Socket::INET->new(PeerAddr => \"127.0.0.1\", PeerPort => $s->sockport) \
                  or die \"no way: $!\"; print $c \"hello\\n\"; close $c; \
                  print \"heard \" . $s->accept->getline' 2>&1; echo END";
    assert_eq!(world.run("a", script).await, "heard hello\nEND\n");
}

#[tokio::test]
async fn a_sandbox_sees_no_network_no_process_no_file_and_no_descriptor_of_the_host() {
    sees_nothing_of_the_host(&World::new().await).await;
}

#[tokio::test]
async fn what_the_parent_had_open_is_not_open_in_a_sandbox() {
    // 9 stays open over exec in a shell, as a lock of the caller's would.
    let world = World::new().await;
    let directory = world.directory.path();
    let script = format!(
        "exec 9>>{0}/lock; exec {1} --listen 127.0.0.1:0 --state {0}/second --images {0}/images",
        directory.display(),
        env!("CARGO_BIN_EXE_machined"),
    );
    let mut command = std::process::Command::new("/bin/bash");
    let mut child = command
        .args(["-c", &script])
        .env("MACHINED_TOKEN", "t")
        .spawn()
        .unwrap();
    let descriptor = format!("/proc/{}/fd/9", child.id());
    let listening = format!("/proc/{}/net/tcp", child.id());
    let is_up = || directory.join("second/identity-key.pem").exists();
    assert!(fs::metadata(&listening).is_ok());
    crate::world::until("the second machined is not up", is_up).await;
    let target = fs::read_link(&descriptor);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !target.is_ok_and(|target| target.ends_with("lock")),
        "descriptor 9 is still there"
    );
}

#[tokio::test]
async fn as_root_every_sandbox_has_users_of_its_own_and_none_is_the_hosts() {
    if !is_root() {
        skipped("only root can give a sandbox a range of users");
        return;
    }
    let world = World::new().await;
    let script = "id -u; for u in 1001 1002; do setpriv --reuid $u --regid $u --clear-groups \
                  sh -c 'id -u; touch /tmp/of-$(id -u)'; done; chown 1001 /data; \
                  setpriv --reuid 1001 --regid 1001 --clear-groups touch /data/theirs; \
                  grep -c . /proc/self/uid_map; mount -t tmpfs x /tmp 2>&1; \
                  echo READY; exec sleep 63.25";
    for name in ["a", "b"] {
        let made = world.make(name, script).await;
        world.client.start(name, &made.machine.id).await.unwrap();
        let printed = world.printed(&made, "READY").await;
        assert!(printed.starts_with("0\n1001\n1002\n1\n"), "{printed}");
        let refused = ["permission denied", "must be superuser"];
        assert!(
            refused.iter().any(|text| printed.contains(text)),
            "root inside may not mount: {printed}"
        );
        let metadata = world.client.metadata(name, &made.machine.id).await.unwrap();
        assert_eq!(metadata["uid_map"], "range");
    }
    if is_qemu() {
        return outside_nobody_is_root();
    }
    let owners = owners_of_theirs();
    assert_eq!(owners.len(), 2, "{owners:?}");
    assert!(owners.iter().all(|&owner| owner > 1_000_000), "{owners:?}");
    assert_ne!(owners[0], owners[1]);

    let pids = crate::world::processes_with("sleep 63.25");
    assert_eq!(pids.len() % 2, 0, "{pids:?}");
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains("sleep 63.25") {
            assert_ne!(
                path.metadata().unwrap().uid(),
                0,
                "{line} is root on the host"
            );
        }
    }
}

/// Where a kernel of their own has the users inside: QEMU's processes, and all around them.
fn outside_nobody_is_root() {
    let mut users = std::collections::BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains("--hostname") && line.contains("qemu-system") {
            users.insert(entry.metadata().unwrap().uid());
        }
    }
    assert!(
        users.len() >= 2 && users.iter().all(|&user| user > 1_000_000),
        "{users:?}"
    );
}

/// Who `/data/theirs` belongs to on the host, in every machine that has it.
fn owners_of_theirs() -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let sleeping = processes.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\x0063.25")
    });
    let files = sleeping.map(|entry| entry.path().join("root/data/theirs").metadata());
    files.map(|file| file.unwrap().uid()).collect()
}

#[tokio::test]
async fn as_root_it_works_below_a_directory_that_only_root_may_enter() {
    if !is_root() {
        skipped("an ordinary user's sandboxes are his own and can go where he can");
        return;
    }
    let world = World::start(Options {
        closed: true,
        ..Options::default()
    })
    .await;
    let printed = world
        .run("a", "cat /opt/http.pl; touch /data/x && echo wrote")
        .await;
    assert!(
        printed.contains("IO::Socket::UNIX") && printed.ends_with("wrote\n"),
        "{printed}"
    );
    assert!(
        world
            .state()
            .join("records/machines")
            .read_dir()
            .unwrap()
            .next()
            .is_some()
    );
}
