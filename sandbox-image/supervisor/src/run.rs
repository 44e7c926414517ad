//! One start of the sandbox, from attestation to the harness's end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nightshift_protocol::attestation::AttestAnswer;
use rustix::process::geteuid;
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{
    children::Children,
    config::{Config, Transport},
    deadline::Deadline,
    descendants,
    exit::Failure,
    forward::{Forwarder, Routes},
    hardening::Hardening,
    harness::{HarnessProcess, exit_code},
    http_client::HttpClient,
    identity::Identity,
    peer::Harness,
    proxy::Proxy,
    renewal::Renewal,
    scratch::Scratch,
    selfcheck,
    session::{PATIENCE, Session, SessionError},
    shell::Shell,
    steps::Step,
    tokens::Tokens,
    volume,
};

/// What the harness gets to end on its own; platforms give the whole machine 5 s.
const GRACE: Duration = Duration::from_secs(4);
/// The harness watches the wall clock itself; this much later it is ended from outside.
const WALL_MARGIN: Duration = Duration::from_secs(30);

/// Runs one start of the sandbox. Gives the exit code.
///
/// # Errors
/// Why there was nothing to run, or why it had to end.
pub async fn run(config: &Config, hardening: Hardening) -> Result<u8, Failure> {
    let process = |what| move |source| Failure::Process { what, source };
    let mut stop = Stop::listen(&hardening).map_err(process("listen for signals"))?;
    descendants::adopt_orphans().map_err(process("adopt orphans"))?;
    let children = Children::default();
    tokio::spawn(children.clone().bury_adopted());
    volume::prepare(config).map_err(process("prepare the volume"))?;
    let owners = config.harness_id().zip(config.agent_id());
    let owners = owners.map(|(harness, agent)| [harness, agent]);
    let scratch = [config.tmp.clone(), config.volume.join("home")];
    let scratch = scratch.map(|path| Scratch::watch(&path, owners));
    let listener = volume::listen(config).map_err(process("listen on the agent socket"))?;
    // Started before anybody is asked for its brief, so that both take their time together.
    let harness = HarnessProcess::start(config, &hardening, &children)
        .map_err(process("start the harness"))?;

    let hardening = Arc::new(hardening);
    let done = attest_and_work(config, &hardening, &children, listener, harness, &mut stop).await;
    descendants::end_all_but(None).await;
    let left: usize = scratch.iter().map(Scratch::wipe).sum();
    if left > 0 {
        tracing::warn!(left, "Temporary files could not be removed");
    }
    done
}

async fn attest_and_work(
    config: &Config,
    hardening: &Arc<Hardening>,
    children: &Children,
    listener: UnixListener,
    mut harness: HarnessProcess,
    stop: &mut Stop,
) -> Result<u8, Failure> {
    let started = Instant::now();
    let Transport::Unix(gateway) = &config.transport;
    let upstream = HttpClient::new(gateway.clone());
    let identity = Identity::new(HttpClient::new(config.identity.clone()));
    let session = Session::new(upstream.clone(), identity, config.session.clone(), PATIENCE);
    let attested = tokio::select! {
        attested = session.attest() => attested,
        why = stop.asked() => {
            tracing::info!(why, "Ending before there was a brief");
            return harness.stop(GRACE).await.map(exit_code).map_err(lost);
        }
    };
    match attested {
        Ok(answer) => {
            tracing::info!(
                investigation.id = %answer.brief.investigation,
                epoch = %answer.epoch,
                ms = started.elapsed().as_millis(),
                "Attested, the brief and the tokens are here"
            );
            let run = Run {
                config,
                hardening,
                children,
                upstream,
                session,
                harness,
            };
            run.work(answer, listener, stop).await
        }
        Err(SessionError::NotClaimed) => {
            selfcheck::check(config, hardening, children, harness).await?;
            tracing::info!(
                uids = ?config.uids,
                steps = hardening.told(),
                "The self-check passed, the sandbox is ready"
            );
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

struct Run<'a> {
    config: &'a Config,
    hardening: &'a Arc<Hardening>,
    children: &'a Children,
    upstream: HttpClient,
    session: Session,
    harness: HarnessProcess,
}

impl Run<'_> {
    async fn work(
        mut self,
        answer: AttestAnswer,
        listener: UnixListener,
        stop: &mut Stop,
    ) -> Result<u8, Failure> {
        let AttestAnswer {
            brief,
            epoch,
            tokens: issued,
        } = answer;
        let tokens = Arc::new(Tokens::default());
        let renewal = Renewal::begin(self.session, epoch, Arc::clone(&tokens), issued);
        let renewal = Arc::new(renewal);
        let (over, mut is_over) = mpsc::channel(1);
        let pid = self.harness.pid();
        let uid = self
            .config
            .harness_id()
            .unwrap_or_else(|| geteuid().as_raw());
        let proxy = Arc::new(Proxy {
            harness: Harness { uid, pid },
            routes: Routes::of(&brief.endpoints),
            forwarder: Forwarder::new(self.upstream, Arc::clone(&renewal), over),
            shell: Arc::new(Shell::new(
                self.config,
                self.hardening,
                self.children.clone(),
                pid,
            )),
        });
        let serving = tokio::spawn(Arc::clone(&proxy).serve(listener));
        let has_wall = self.hardening.has(Step::WallClock);
        let wall = Duration::from_secs(brief.limits.wall_seconds).saturating_add(WALL_MARGIN);

        let harness = &mut self.harness;
        harness
            .tell(&brief)
            .await
            .map_err(|source| Failure::Process {
                what: "tell the harness its brief",
                source,
            })?;
        let ending = tokio::select! {
            ended = harness.ended() => Ending::Harness(ended),
            why = stop.asked() => Ending::Asked(why),
            () = tokio::time::sleep(wall), if has_wall => Ending::Wall,
            error = renewal.keep_fresh() => Ending::NoTokens(error),
            Some(error) = is_over.recv() => Ending::NoTokens(error),
        };
        let code = match ending {
            Ending::Harness(ended) => ended.map(exit_code).map_err(lost),
            Ending::Asked(_) | Ending::Wall => {
                tracing::warn!(reason = ending.reason(), "Ending the harness");
                harness.stop(GRACE).await.map(exit_code).map_err(lost)
            }
            Ending::NoTokens(error) => {
                tracing::warn!(error = %error, "Ending the harness, its tokens are gone");
                tokens.wipe();
                harness.stop(GRACE).await.map_err(lost)?;
                Err(error.into())
            }
        };
        serving.abort();
        tokens.wipe();
        if let Ok(code) = code {
            tracing::info!(code, "The harness has ended and the tokens are wiped");
        }
        code
    }
}

enum Ending {
    Harness(std::io::Result<std::process::ExitStatus>),
    Asked(&'static str),
    Wall,
    NoTokens(SessionError),
}

impl Ending {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Harness(_) => "it ended",
            Self::Asked(why) => why,
            Self::Wall => "the wall-clock limit is over",
            Self::NoTokens(_) => "no tokens",
        }
    }
}

fn lost(source: std::io::Error) -> Failure {
    Failure::Process {
        what: "wait for the harness",
        source,
    }
}

/// The platform's wish that the machine stops, and the machine's own end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    deadline: Option<Deadline>,
}

impl Stop {
    fn listen(hardening: &Hardening) -> std::io::Result<Self> {
        let deadline = hardening
            .has(Step::WallClock)
            .then(|| Deadline::after(hardening.limits().deadline));
        if let Some(deadline) = deadline {
            deadline.insist()?;
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            deadline,
        })
    }

    /// Comes when the machine shall stop, and says why.
    async fn asked(&mut self) -> &'static str {
        let deadline = self.deadline;
        let over = async {
            match deadline {
                Some(deadline) => deadline.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "the machine stops",
            _ = self.interrupt.recv() => "the machine stops",
            () = over => "the machine's own deadline is over",
        }
    }
}
