//! The run: make, start, kill, start again, delete, look.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nightshift_machines::{
    Client, MachineConfig, Mount, NewMachine, NewVolume, Restart, RestartPolicy, WaitFor,
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Args,
    figures::Figures,
    leftovers::{Marks, programs},
    peer,
    server::Server,
};

/// How long any step may take.
const PATIENCE: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(5);

/// One life of the crowd.
#[derive(Debug)]
pub(crate) struct Life {
    /// From the first call until every program ran.
    pub(crate) alive: Duration,
    /// Each start call, in milliseconds.
    pub(crate) starts_ms: Vec<f64>,
    /// Memory of each sandbox, in KiB: what the machine has less of, the server's own included.
    pub(crate) kib: u64,
    /// Memory of the server, in KiB.
    pub(crate) server_kib: u64,
}

/// A machine and its app, which have the same name.
#[derive(Debug, Clone)]
struct Member {
    app: String,
    machine: String,
}

/// Runs everything; true if nothing is left.
pub(crate) async fn run(args: &Args) -> Result<bool> {
    // A number that no other process sleeps for.
    let seconds = 1_000_000 + u64::from(std::process::id());
    let program = |part: u32| vec!["/bin/sleep".to_owned(), format!("{seconds}.{part}")];
    let peer = peer::run(args.machines, &program(2))?;

    let program = program(1);
    let mut server = Server::start(args, &program).await?;
    let marks = Marks::of(program[1].clone(), server.state())?;
    let began = Instant::now();
    let crowd = make(args, &server).await?;
    let made = began.elapsed();

    let mut lives = vec![live(args, &server, &crowd, &program.join(" ")).await?];
    let began = Instant::now();
    server.kill()?;
    until("sandboxes outlive the server", || marks.lives() == 0).await?;
    let killed = began.elapsed();
    let began = Instant::now();
    server.launch().await?;
    let back = began.elapsed();
    let mut left_by_kill = marks.look();
    // Records, volumes and sockets' directories of the machines stay: they still exist. Of the
    // groups, the one that all others are made in is there again.
    left_by_kill.files = 0;
    left_by_kill.cgroups = left_by_kill.cgroups.saturating_sub(homes());

    lives.push(live(args, &server, &crowd, &program.join(" ")).await?);
    let began = Instant::now();
    delete(args, &server, &crowd).await?;
    let deleted = began.elapsed();
    server.end()?;
    let left = marks.look();
    for file in marks.files_left().iter().take(10) {
        nightshift_terminal::say("crowd", &format!("left: {}", file.display()));
    }
    let figures = Figures {
        machines: args.machines,
        parallel: args.parallel,
        volumes: !args.no_volumes,
        made,
        lives,
        killed,
        back,
        left_by_kill,
        deleted,
        left,
        peer,
    };
    figures.show(args.json);
    Ok(left_by_kill.is_nothing() && left.is_nothing())
}

/// Directories that a server without machines has among the control groups: one in each hierarchy.
fn homes() -> usize {
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if unified { 1 } else { 3 }
}

async fn make(args: &Args, server: &Server) -> Result<Vec<Member>> {
    let (image, volumes) = (server.image.clone(), !args.no_volumes);
    each(
        args,
        (0..args.machines).collect(),
        server,
        move |client, nth| {
            let image = image.clone();
            async move { make_one(&client, &format!("crowd-{nth}"), image, volumes).await }
        },
    )
    .await
}

async fn make_one(client: &Client, app: &str, image: String, volumes: bool) -> Result<Member> {
    client.create_app(app, "crowd", app).await?;
    let mut mounts = Vec::new();
    if volumes {
        let new = NewVolume::for_sandbox("data", "local", 1);
        let volume = client.create_volume(app, &new).await?.id;
        mounts.push(Mount {
            volume,
            path: "/data".to_owned(),
        });
    }
    let new = NewMachine {
        name: app.to_owned(),
        region: "local".to_owned(),
        config: MachineConfig {
            image,
            mounts,
            restart: Some(Restart {
                policy: RestartPolicy::No,
                max_retries: None,
            }),
            ..MachineConfig::default()
        },
        skip_launch: true,
    };
    let machine = client.create_machine(app, &new).await?.id;
    client
        .wait(app, &machine, WaitFor::Stopped, PATIENCE)
        .await?;
    Ok(Member {
        app: app.to_owned(),
        machine,
    })
}

async fn live(args: &Args, server: &Server, crowd: &[Member], program: &str) -> Result<Life> {
    let before = available_kib()?;
    let began = Instant::now();
    let starts_ms = each(
        args,
        crowd.to_vec(),
        server,
        |client, member: Member| async move {
            let began = Instant::now();
            client.start(&member.app, &member.machine).await?;
            Ok(began.elapsed().as_secs_f64() * 1_000.0)
        },
    )
    .await?;
    until("not every sandbox came up", || {
        programs(program) == crowd.len()
    })
    .await?;
    let alive = began.elapsed();
    Ok(Life {
        alive,
        starts_ms,
        kib: before.saturating_sub(available_kib()?) / crowd.len().max(1) as u64,
        server_kib: resident_kib(server.pid()),
    })
}

/// Deletes every app, which takes machine and volume with it, and waits until the last is forgotten.
async fn delete(args: &Args, server: &Server, crowd: &[Member]) -> Result<()> {
    each(
        args,
        crowd.to_vec(),
        server,
        |client, member: Member| async move { Ok(client.delete_app(&member.app).await?) },
    )
    .await?;
    let records = server.state().join("records/apps");
    until("apps stay", || {
        std::fs::read_dir(&records).is_ok_and(|mut left| left.next().is_none())
    })
    .await
}

/// Does something with each, so many at a time.
async fn each<I, T, F, R>(args: &Args, all: Vec<I>, server: &Server, work: F) -> Result<Vec<T>>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(Client, I) -> R,
    R: Future<Output = Result<T>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(args.parallel));
    let mut tasks = JoinSet::new();
    for one in all {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let doing = work(server.client.clone(), one);
        tasks.spawn(async move {
            let done = doing.await;
            drop(permit);
            done
        });
    }
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !done() {
        ensure!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Memory that programs could still take, in KiB.
pub(crate) fn available_kib() -> Result<u64> {
    let told = std::fs::read_to_string("/proc/meminfo")?;
    number_after(&told, "MemAvailable:").context("the kernel does not tell its memory")
}

fn resident_kib(pid: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    number_after(&told, "VmRSS:").unwrap_or_default()
}

fn number_after(told: &str, key: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
