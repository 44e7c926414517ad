//! What an agent that does as an attacker says tries on the sandbox, with every step in place and without
//! those that hold it off. An attack that fails without them too would prove nothing.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use nightshift_supervisor::shell::ShellAnswer;
use tokio::process::Command;

use crate::{
    probe::shell,
    shelling::answer,
    world::{World, brief, end_of, has_uids, until},
};

/// Runs one command as the agent; `prepare` furnishes the world first. `None` if the supervisor did not survive.
async fn attacked(without: &str, command: &str, prepare: impl Fn(&World)) -> Option<ShellAnswer> {
    let mut world = World::claimed(&[]);
    world.without = without.to_owned();
    prepare(&world);
    let command = command.replace("WORLD", world.directory.path().to_str().unwrap());
    world.platform.lock().unwrap().brief = Some(brief(&[shell(&command, 20_000)]));
    let code = world.run().await?;
    assert_eq!(code, 0, "{}", world.log());
    Some(answer(&world.results()[0]))
}

/// The attack writes `WON` where it succeeds. It must without the steps, and must not with all of them.
async fn only_succeeds_without(steps: &str, command: &str, prepare: impl Fn(&World)) {
    if !has_uids() {
        // Without users of their own, other steps hold some of it off; the names would be wrong.
        return;
    }
    let held = attacked("", command, &prepare).await.unwrap();
    assert!(!held.stdout.contains("WON"), "with every step: {held:?}");
    let open = attacked(steps, command, &prepare).await.unwrap();
    assert!(open.stdout.contains("WON"), "without {steps}: {open:?}");
}

fn python(lines: &str) -> String {
    format!(
        "python3 - <<'END' 2>&1\nimport ctypes, os, socket\nlibc = ctypes.CDLL(None, use_errno=True)\n{lines}\nEND"
    )
}

#[tokio::test]
async fn a_socket_to_the_host_is_refused_by_seccomp() {
    let attack = python("socket.socket(40, socket.SOCK_STREAM); print('WON')");
    only_succeeds_without("seccomp", &attack, |_| {}).await;
}

#[tokio::test]
async fn a_socket_to_the_network_is_refused_by_seccomp() {
    let attack = python("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); print('WON')");
    only_succeeds_without("seccomp", &attack, |_| {}).await;
}

#[tokio::test]
async fn a_user_namespace_is_refused_by_seccomp() {
    only_succeeds_without("seccomp", "unshare --user true && echo WON", |_| {}).await;
    // By `clone`, whose flags the filter sees; 17 is SIGCHLD, 0x10000000 a user namespace.
    let clone = "p = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000000 | 17, 0, 0, 0, 0)\n\
                 if p == 0: os._exit(0)\nprint('WON' if p > 0 else ctypes.get_errno())";
    only_succeeds_without("seccomp", &python(clone), |_| {}).await;
}

#[tokio::test]
async fn keys_of_the_kernel_and_io_uring_are_refused_by_seccomp() {
    for (x86, arm, arguments) in [
        (250, 219, "0, -3, 1"),
        (425, 425, "1, ctypes.create_string_buffer(256)"),
    ] {
        let call = format!(
            "r = libc.syscall({x86} if os.uname().machine == 'x86_64' else {arm}, {arguments})\n\
             print('WON' if r >= 0 else ctypes.get_errno())"
        );
        only_succeeds_without("seccomp", &python(&call), |_| {}).await;
    }
}

#[tokio::test]
async fn a_mount_is_refused() {
    let attack = "unshare --mount mount -t tmpfs none WORLD/tmp && echo WON";
    only_succeeds_without("seccomp,landlock,users,no-capabilities", attack, |_| {}).await;
}

#[tokio::test]
async fn tracing_the_supervisor_is_refused() {
    // PTRACE_SEIZE, which does not stop it; the supervisor is the parent of the shell.
    let attack = python(
        "libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n\
         shell = open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1]\n\
         r = libc.ptrace(0x4206, int(shell.split()[1]), None, None)\n\
         print('WON' if r == 0 else ctypes.get_errno())",
    );
    let steps = "seccomp,landlock,users,no-capabilities,non-dumpable";
    only_succeeds_without(steps, &attack, |_| {}).await;
}

#[tokio::test]
async fn each_of_three_steps_alone_keeps_the_supervisors_memory_closed() {
    if !has_uids() {
        return;
    }
    let all = ["non-dumpable", "users", "landlock", "no-capabilities"];
    let environment = "grep -qz NIGHTSHIFT_SESSION /proc/$PPID/environ && echo WON";
    only_succeeds_without(&all.join(","), environment, |_| {}).await;
    let memory = "exec 3</proc/$PPID/mem && echo WON";
    only_succeeds_without(&all.join(","), memory, |_| {}).await;
    for alone in ["users", "landlock", "no-capabilities"] {
        let others: Vec<_> = all.into_iter().filter(|step| *step != alone).collect();
        let held = attacked(&others.join(","), memory, |_| {}).await.unwrap();
        assert!(!held.stdout.contains("WON"), "only {alone}: {held:?}");
    }
}

/// Another program of the supervisor's own user, which none of the agent's confinement holds.
#[tokio::test]
async fn a_program_of_the_same_user_reads_the_supervisor_only_where_it_is_dumpable() {
    const NOBODY: u32 = 65_534;
    for (without, leaks) in [("", false), ("non-dumpable", true)] {
        let mut world = World::claimed(&[]);
        world.without = without.to_owned();
        let own = |command: &mut Command| {
            if has_uids() {
                command.uid(NOBODY).gid(NOBODY);
            }
        };
        if has_uids() {
            for name in ["data", "run", "tmp"] {
                std::os::unix::fs::chown(world.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        // It cannot reach the sockets, and goes on trying while we look.
        fs::remove_file(world.path("identity.sock")).unwrap();
        let mut supervisor = world.command();
        own(supervisor.env("NIGHTSHIFT_UIDS", "single"));
        let mut child = supervisor.spawn().unwrap();
        until(|| world.log().contains("trying again")).await;
        let mut reader = Command::new("cat");
        own(reader.arg(format!("/proc/{}/environ", child.id().unwrap())));
        let read = reader.output().await.unwrap();
        let read = String::from_utf8_lossy(&read.stdout).into_owned();
        assert_eq!(
            read.contains("NIGHTSHIFT_SESSION"),
            leaks,
            "without `{without}`: {read}"
        );
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn killing_the_supervisor_is_refused_by_users_and_by_landlock() {
    let attack = "kill -9 $PPID; sleep 0.2; echo it lives";
    for without in ["", "users,no-capabilities", "landlock"] {
        if !has_uids() && without == "landlock" {
            continue;
        }
        let held = attacked(without, attack, |_| {}).await;
        assert_eq!(held.unwrap().stdout, "it lives\n", "without {without}");
    }
    assert!(attacked("users,landlock", attack, |_| {}).await.is_none());
}

#[tokio::test]
async fn a_setuid_program_gives_nothing() {
    let furnish = |world: &World| {
        let work = world.path("data/work");
        fs::create_dir(&work).unwrap();
        fs::copy("/usr/bin/id", work.join("become-root")).unwrap();
        fs::set_permissions(work.join("become-root"), Permissions::from_mode(0o4755)).unwrap();
    };
    let attack = "./become-root | grep -q 'euid=0' && echo WON; ./become-root";
    only_succeeds_without("no-new-privileges,seccomp,landlock", attack, furnish).await;
}

#[tokio::test]
async fn files_outside_of_the_workspace_are_closed_whatever_their_mode() {
    let furnish = |world: &World| {
        let open = world.path("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        fs::write(open.join("readable"), "x").unwrap();
    };
    for attack in [
        "echo x > WORLD/open/new && echo WON",
        "cat WORLD/open/readable && echo WON",
        "ln -s WORLD/open way-out && ls way-out/ && echo WON",
        "echo x > /dev/shm/nightshift-$$ && rm /dev/shm/nightshift-$$ && echo WON",
    ] {
        only_succeeds_without("landlock,no-capabilities", attack, furnish).await;
    }
    let allowed = "set -e; echo x > here; mkdir -p a/b; mv here a/b/there; ln -s a c; echo y > $TMPDIR/t; mkfifo p; \
                   echo z > /dev/null; cat <(echo sub) a/b/there; cat $TMPDIR/t";
    let held = attacked("", allowed, |_| {}).await.unwrap();
    assert_eq!(held.stdout, "sub\nx\ny\n", "{held:?}");
}

#[tokio::test]
async fn a_descriptor_and_an_environment_from_outside_do_not_reach_the_agent() {
    for (without, leaks) in [("", false), ("clean-start", true)] {
        let mut world = World::claimed(&[shell("env; ls -l /proc/self/fd", 9_000)]);
        world.without = without.to_owned();
        world.told.push(("CANARY_OF_THE_PLATFORM", "1".to_owned()));
        let program = world.program().join(" ");
        let leaky = format!("exec 9<{}; exec {program}", world.path("probe").display());
        let configured = world.command();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &leaky]).env_clear().kill_on_drop(true);
        for (name, value) in configured.as_std().get_envs() {
            command.env(name, value.unwrap());
        }
        assert_eq!(end_of(&mut command.spawn().unwrap()).await, Some(0));
        let seen = answer(&world.results()[0]).stdout;
        assert_eq!(seen.contains("CANARY_OF_THE_PLATFORM"), leaks, "{seen}");
        assert_eq!(seen.contains(" 9 -> "), leaks, "{seen}");
    }
}

#[tokio::test]
async fn what_an_investigator_uses_works_confined() {
    let work = "set -e; git init -q r; cd r; git config user.email a@b; git config user.name a; echo a > f; git add f; \
                git commit -q -m m; git log --oneline | wc -l; git clone -q . ../s; seq 9 | sort -rn | head -1 | tr 9 8; \
                python3 -c 'import subprocess, threading, tempfile, sqlite3; t = threading.Thread(target=print, \
                args=(1,)); t.start(); t.join(); print(subprocess.check_output([\"echo\", \"2\"])); \
                tempfile.TemporaryFile().write(b\"x\"); sqlite3.connect(\"d\").execute(\"create table t (a)\")'; \
                find / -maxdepth 1 2>/dev/null | wc -l; echo '{\"a\": 1}' > j; sleep 0.01 & wait; kill -0 $$; xargs -n1 echo < f";
    let held = attacked("", work, |_| {}).await.unwrap();
    assert_eq!(held.exit_code, Some(0), "{held:?}");
    assert!(held.stdout.starts_with("1\n8\n1\nb'2\\n'\n"), "{held:?}");
}
