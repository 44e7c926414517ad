//! The key of run tokens is rotated, again and again, under runs that go on: nobody is refused.
//!
//! Everything but the wire is real: the file and the code that reads it in every instance of session, the
//! minting, the key sets of the servers behind caches, their gates, and the proofs. Time is made up, so
//! that hours pass in seconds; clocks differ, the session endpoint is away for minutes at the worst
//! moments, and somebody all the while sends tokens with key ids that nobody knows.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{Epoch, InvestigationId, SandboxId, TenantId, scope::Audience};
use nightshift_engine::attest::RunGrant;
use nightshift_lambda::FileSecrets;
use nightshift_mcp_kit::{
    Clock, Gate, JwkSet, KeySource, Keyring, KeysUnavailable, Pending, Runs, TokenRules,
    TokenVerifier, protect,
    testing::{FakeCasebook, Holder, ISSUER, encode, proof_claims},
};
use nightshift_protocol::{attestation::IssuedToken, run::RunStatus};
use nightshift_session::{
    KeySet, SigningKey, SigningKeys,
    keys::{DEFAULT_LEAD, NextKey, OVERLAP, RotateError, rotate},
    mint,
};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

/// Runs that go on.
const RUNS: u32 = 12;
/// Instances of the session function, each with its own view of the file.
const INSTANCES: usize = 3;
/// How long a cache between session and a server keeps the key set.
const CACHE: Duration = Duration::from_mins(1);
/// How long the session endpoint is away.
const AWAY: Duration = Duration::from_secs(150);

/// A clock of this made-up world, perhaps a little wrong.
#[derive(Clone, Copy)]
struct Made {
    began: Instant,
    off: TimeDelta,
}

impl Made {
    fn off_by(self, seconds: i64) -> Self {
        let off = TimeDelta::seconds(seconds);
        Self { off, ..self }
    }
}

impl Clock for Made {
    fn now(&self) -> DateTime<Utc> {
        let base = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        base + self.off + TimeDelta::from_std(self.began.elapsed()).unwrap()
    }
}

/// The session function: instances that know of each other only through the file.
struct Sessions {
    instances: Vec<(SigningKeys, Made)>,
    away_until: Mutex<Instant>,
    turn: Mutex<usize>,
}

impl Sessions {
    async fn over(file: &Path, clock: Made) -> Self {
        let mut instances = Vec::new();
        for instance in 0..INSTANCES {
            let secrets = Arc::new(FileSecrets::new(file.with_extension("none")));
            let keys = SigningKeys::open(SigningKey::File(file.to_owned()), secrets, None).await;
            let off = i64::try_from(instance).unwrap() * 2 - 2;
            instances.push((keys.unwrap(), clock.off_by(off)));
        }
        Self {
            instances,
            away_until: Mutex::new(clock.began),
            turn: Mutex::default(),
        }
    }

    fn leave(&self) {
        *self.away_until.lock().unwrap() = Instant::now() + AWAY;
    }

    /// Whichever instance is next, unless they are away.
    async fn any(&self) -> Option<(Arc<KeySet>, DateTime<Utc>)> {
        if Instant::now() < *self.away_until.lock().unwrap() {
            return None;
        }
        let turn = {
            let mut turn = self.turn.lock().unwrap();
            *turn += 1;
            *turn % INSTANCES
        };
        let (keys, clock) = &self.instances[turn];
        Some((keys.current().await, clock.now()))
    }

    async fn tokens(&self, run: &RunStatus, holder: &Holder) -> Option<Vec<IssuedToken>> {
        let (keys, now) = self.any().await?;
        let grant = RunGrant {
            tenant: run.tenant,
            investigation: run.investigation,
            sandbox: run.sandbox,
            epoch: run.epoch,
        };
        let signer = keys.signing(now);
        Some(
            mint(signer, ISSUER, &grant, &holder.thumbprint(), now)
                .await
                .unwrap(),
        )
    }
}

/// The published keys as a server gets them, through a cache.
struct Cached {
    sessions: Arc<Sessions>,
    kept: Mutex<Option<(Instant, String)>>,
}

impl KeySource for Cached {
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>> {
        Box::pin(async {
            let kept = self.kept.lock().unwrap().clone();
            let fresh = kept.filter(|(at, _)| at.elapsed() < CACHE);
            let text = if let Some((_, text)) = fresh {
                text
            } else {
                let any = self.sessions.any().await;
                let (keys, now) = any.ok_or(KeysUnavailable("away".to_owned()))?;
                let set = serde_json::json!({ "keys": keys.published(now) }).to_string();
                *self.kept.lock().unwrap() = Some((Instant::now(), set.clone()));
                set
            };
            Ok(serde_json::from_str(&text).unwrap())
        })
    }
}

/// A server: its address, and the gate that stands before it.
#[derive(Clone)]
struct Server {
    audience: Audience,
    url: String,
    routes: Router,
}

impl Server {
    fn start(
        audience: Audience,
        sessions: &Arc<Sessions>,
        runs: &Arc<FakeCasebook>,
        clock: Made,
    ) -> Self {
        let url = format!("http://{}.example/", audience.server());
        let rules = TokenRules {
            issuer: ISSUER.to_owned(),
            audience,
            origin: url.parse().unwrap(),
        };
        let keys = Keyring::new(Cached {
            sessions: Arc::clone(sessions),
            kept: Mutex::default(),
        });
        let runs: Arc<dyn Runs> = Arc::<FakeCasebook>::clone(runs);
        let gate = Gate::new(TokenVerifier::new(rules, keys, Arc::new(clock)), runs);
        let routes = Router::new().route("/", get(async || "in"));
        let routes = protect(routes, Arc::new(gate));
        Self {
            audience,
            url,
            routes,
        }
    }

    /// The status of a request with this token and a good proof.
    async fn ask(&self, token: &str, holder: &Holder, clock: Made) -> StatusCode {
        let mut claims = proof_claims("GET", &self.url, token);
        claims.iat = clock.now().timestamp();
        let claims = serde_json::to_value(claims).unwrap();
        let proof = holder.prove_as(&holder.header(), &claims);
        let request = Request::get("/")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
            .body(Body::empty())
            .unwrap();
        self.routes.clone().oneshot(request).await.unwrap().status()
    }
}

/// What the runs met.
#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: Vec<String>,
    kids: BTreeSet<String>,
}

fn kid(token: &str) -> String {
    // The header is the part before the first point; its name is all that is wanted of it.
    token.split('.').next().unwrap().to_owned()
}

/// One run: renews as a supervisor does, and asks one server after the other.
async fn live(
    number: u32,
    run: RunStatus,
    sessions: Arc<Sessions>,
    servers: Vec<Server>,
    clock: Made,
    seen: Arc<Mutex<Seen>>,
    until: Instant,
) {
    let holder = Holder::stranger();
    sleep(Duration::from_millis(u64::from(number) * 7_300)).await;
    let mut tokens = sessions.tokens(&run, &holder).await.unwrap();
    let mut renew_at = Instant::now() + Duration::from_mins(6);
    let mut turn = number as usize;
    while Instant::now() < until {
        if renew_at <= Instant::now() {
            // The old ones go on until there are new ones.
            match sessions.tokens(&run, &holder).await {
                Some(fresh) => {
                    tokens = fresh;
                    renew_at = Instant::now() + Duration::from_mins(6);
                }
                None => renew_at = Instant::now() + Duration::from_secs(2),
            }
        }
        turn += 1;
        let server = &servers[turn % servers.len()];
        let issued = tokens
            .iter()
            .find(|token| token.audience == server.audience);
        let token = &issued.unwrap().token;
        let status = server.ask(token, &holder, clock).await;
        {
            let mut seen = seen.lock().unwrap();
            seen.kids.insert(kid(token));
            if status == StatusCode::OK {
                seen.accepted += 1;
            } else {
                let at = clock.began.elapsed().as_secs();
                seen.refused.push(format!("{status} at {at} s"));
            }
        }
        sleep(Duration::from_millis(15_000 + u64::from(number) * 137)).await;
    }
}

/// Sends tokens under names that nobody knows, to everybody, all the time.
async fn vandal(servers: Vec<Server>, until: Instant) {
    let mut count = 0_u64;
    while Instant::now() < until {
        for server in &servers {
            count += 1;
            let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"made-up-{count}"}}"#);
            let token = format!("{}.{}.{}", encode(header), encode("{}"), encode([1; 64]));
            let request = Request::get("/")
                .header("authorization", format!("DPoP {token}"))
                .body(Body::empty())
                .unwrap();
            let answer = server.routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
        sleep(Duration::from_secs(3)).await;
    }
}

fn run() -> RunStatus {
    RunStatus {
        investigation: InvestigationId::generate(),
        tenant: TenantId::generate(),
        sandbox: SandboxId::generate(),
        epoch: Epoch(1),
        fired_at: DateTime::UNIX_EPOCH,
        connections: std::collections::BTreeMap::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_rotated_under_running_work_and_nobody_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("signing.pem");
    let clock = Made {
        began: Instant::now(),
        off: TimeDelta::zero(),
    };
    let sessions = Arc::new(Sessions::over(&file, clock).await);
    let casebook = Arc::new(FakeCasebook::default());
    let servers: Vec<Server> = Audience::ALL
        .iter()
        .zip([-2, 0, 2, 1])
        .map(|(audience, off)| Server::start(*audience, &sessions, &casebook, clock.off_by(off)))
        .collect();
    let rotation = (DEFAULT_LEAD + OVERLAP).to_std().unwrap() + Duration::from_secs(1);
    let until = Instant::now() + rotation * 3;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut tasks = vec![tokio::spawn(vandal(servers.clone(), until))];
    for number in 0..RUNS {
        let run = run();
        casebook.make_live(&run);
        let (sessions, servers) = (Arc::clone(&sessions), servers.clone());
        tasks.push(tokio::spawn(live(
            number,
            run,
            sessions,
            servers,
            clock,
            Arc::clone(&seen),
            until,
        )));
    }
    let mut last = None;
    for away_at in [DEFAULT_LEAD, TimeDelta::seconds(90), OVERLAP] {
        last = sessions.any().await;
        let rotated = rotate(&file, &NextKey::New, DEFAULT_LEAD, clock.now()).unwrap();
        let early = rotate(&file, &NextKey::New, DEFAULT_LEAD, clock.now());
        assert!(matches!(early, Err(RotateError::UnderWay { .. })));
        let sessions = Arc::clone(&sessions);
        let away_at = away_at.to_std().unwrap().saturating_sub(AWAY / 2);
        tokio::spawn(async move {
            sleep(away_at).await;
            sessions.leave();
        });
        sleep((rotated.done_at - clock.now()).to_std().unwrap() + Duration::from_secs(1)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }

    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.refused, [""; 0], "of {} more", seen.accepted);
        assert!(seen.accepted > 3_000, "{}", seen.accepted);
        assert_eq!(seen.kids.len(), 4, "every key was used");
    }

    // The set is closed: who still had the key before this one could sign what nobody accepts.
    let (stolen, thief) = (run(), Holder::stranger());
    casebook.make_live(&stolen);
    sleep(Duration::from_mins(3)).await;
    let grant = RunGrant {
        tenant: stolen.tenant,
        investigation: stolen.investigation,
        sandbox: stolen.sandbox,
        epoch: stolen.epoch,
    };
    let (last, then) = last.unwrap();
    let old_signer = last.signing(then);
    let forged = mint(old_signer, ISSUER, &grant, &thief.thumbprint(), clock.now())
        .await
        .unwrap();
    let good = sessions.tokens(&stolen, &thief).await.unwrap();
    for (forged, good) in forged.iter().zip(&good) {
        let server = servers
            .iter()
            .find(|server| server.audience == forged.audience)
            .unwrap();
        assert_eq!(server.ask(&good.token, &thief, clock).await, StatusCode::OK);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            server.ask(&forged.token, &thief, clock).await,
            StatusCode::UNAUTHORIZED
        );
    }
}
