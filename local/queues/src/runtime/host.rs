//! The functions that are deployed, and their invocation.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use uuid::Uuid;

use super::{
    Function, InvokeError, Owner,
    api::{Event, MAX_PAYLOAD_BYTES},
    failure::Ailment,
    instance::Instance,
    nursery::Nursery,
    tail::Log,
};

/// How long an instance may take to get ready, outside of any invocation's time.
const INIT_PATIENCE: Duration = Duration::from_secs(10);

/// The functions of one account. Clones are the same host; dropping the last one kills every instance.
#[derive(Debug, Clone)]
pub struct Host {
    owner: Arc<Owner>,
    functions: Arc<BTreeMap<String, Arc<Deployed>>>,
}

#[derive(Debug)]
struct Deployed {
    function: Function,
    owner: Arc<Owner>,
    nursery: Nursery,
    log: Log,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Instance>>,
    started: AtomicU64,
}

type Outcome = Result<Bytes, InvokeError>;

impl Host {
    /// Deploys the functions; none is started before it is invoked. Each writes `NAME.log` in `logs`.
    /// Must be called on the async runtime.
    pub fn deploy(owner: Owner, functions: Vec<Function>, logs: &Path) -> io::Result<Self> {
        let owner = Arc::new(owner);
        let nursery = Nursery::open()?;
        let mut deployed = BTreeMap::new();
        for function in functions {
            let log = Log::open(&logs.join(format!("{}.log", function.name)))?;
            let name = function.name.clone();
            let one = Deployed {
                permits: Arc::new(Semaphore::new(function.reserved_concurrency)),
                owner: Arc::clone(&owner),
                nursery: nursery.clone(),
                log,
                idle: Mutex::default(),
                started: AtomicU64::new(0),
                function,
            };
            deployed.insert(name, Arc::new(one));
        }
        Ok(Self {
            owner,
            functions: Arc::new(deployed),
        })
    }

    /// The account and the region.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// How `name` was deployed.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(name).map(|deployed| &deployed.function)
    }

    /// Invokes `name` and waits for its answer. An invocation that was begun goes on when the caller
    /// stops waiting.
    pub async fn invoke(&self, name: &str, payload: Bytes) -> Outcome {
        let Some(deployed) = self.functions.get(name) else {
            return Err(InvokeError::NotFound(name.to_owned()));
        };
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(InvokeError::TooLarge {
                size: payload.len(),
                most: MAX_PAYLOAD_BYTES,
            });
        }
        let permit = match Arc::clone(&deployed.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Err(InvokeError::Throttled(name.to_owned())),
            Err(TryAcquireError::Closed) => return Err(InvokeError::Ending),
        };
        let (answered, answer) = oneshot::channel();
        tokio::spawn(Arc::clone(deployed).carry_out(payload, permit, answered));
        answer.await.unwrap_or(Err(InvokeError::Ending))
    }

    /// Kills every instance that is idle. Those under way end with their invocation.
    pub async fn end(&self) {
        for deployed in self.functions.values() {
            deployed.permits.close();
            let idle = std::mem::take(&mut *deployed.idle());
            for instance in idle {
                instance.end().await;
            }
        }
    }
}

impl Deployed {
    /// One invocation, from an instance to an instance that is idle again.
    async fn carry_out(
        self: Arc<Self>,
        payload: Bytes,
        permit: OwnedSemaphorePermit,
        answered: oneshot::Sender<Outcome>,
    ) {
        let began = Instant::now();
        let request = Uuid::new_v4().to_string();
        let (outcome, instance, init) = match self.take_idle() {
            Some(instance) => {
                self.invoke_on(instance, &request, payload, self.function.timeout)
                    .await
            }
            None => self.invoke_cold(&request, payload).await,
        };
        self.report(&request, began.elapsed(), init, &outcome);
        // An invocation is over when the runtime asks for the next one: a caller that goes on at once finds
        // the instance idle. Whatever goes wrong meanwhile, an answer stays an answer.
        if let Some(mut instance) = instance {
            let left = self.function.timeout.saturating_sub(began.elapsed());
            if instance.settle(left).await && !self.permits.is_closed() {
                self.idle().push(instance);
            } else {
                instance.end().await;
            }
        }
        drop(permit);
        // A caller that left does not change what was done.
        let _ = answered.send(outcome);
    }

    /// On a new instance. One that cannot get ready is started once more, within the invocation's time.
    async fn invoke_cold(
        &self,
        request: &str,
        payload: Bytes,
    ) -> (Outcome, Option<Instance>, Option<Duration>) {
        let began = Instant::now();
        if let Ok(instance) = self.start(INIT_PATIENCE).await {
            let init = began.elapsed();
            let (outcome, instance, _) = self
                .invoke_on(instance, request, payload, self.function.timeout)
                .await;
            return (outcome, instance, Some(init));
        }
        let again = Instant::now();
        match self.start(self.function.timeout).await {
            Ok(instance) => {
                let left = self.function.timeout.saturating_sub(again.elapsed());
                self.invoke_on(instance, request, payload, left).await
            }
            Err((ailment, tail)) => (
                Err(ailment.told(&self.function.name, request, tail).into()),
                None,
                None,
            ),
        }
    }

    async fn invoke_on(
        &self,
        mut instance: Instance,
        request: &str,
        payload: Bytes,
        patience: Duration,
    ) -> (Outcome, Option<Instance>, Option<Duration>) {
        let event = Event {
            request: request.to_owned(),
            arn: self.owner.function_arn(&self.function.name),
            trace: trace(),
            deadline_ms: (now() + patience).as_millis(),
            payload,
        };
        let version = instance.version.name();
        self.log
            .line(&format!("START RequestId: {request} Version: {version}"));
        match instance.perform(event, patience).await {
            Ok(answer) => (Ok(answer), Some(instance), None),
            Err(ailment) => {
                let spared = ailment.spares_the_instance();
                let ailment = if matches!(ailment, Ailment::TimedOut(_)) {
                    // The whole time, whatever part of it went into getting ready.
                    Ailment::TimedOut(self.function.timeout)
                } else {
                    ailment
                };
                let (tail, instance) = if spared {
                    (instance.tail(), Some(instance))
                } else {
                    (instance.end().await, None)
                };
                let told = ailment.told(&self.function.name, request, tail);
                (Err(told.into()), instance, None)
            }
        }
    }

    async fn start(&self, patience: Duration) -> Result<Instance, (Ailment, String)> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let version = self.function.version_of(number);
        let stream = format!("[{}]{number:08}", version.name());
        let started = Instance::start(
            &self.function,
            &self.owner,
            &self.nursery,
            &self.log,
            &stream,
            version,
        )
        .await;
        let mut instance = started.map_err(|ailment| (ailment, String::new()))?;
        match instance.get_ready(patience).await {
            Ok(()) => Ok(instance),
            Err(ailment) => {
                let tail = instance.end().await;
                tracing::warn!(
                    function = self.function.name,
                    ?ailment,
                    tail,
                    "An instance did not get ready"
                );
                Err((ailment, tail))
            }
        }
    }

    /// The instance that was used last, if one lives.
    fn take_idle(&self) -> Option<Instance> {
        let mut idle = self.idle();
        loop {
            let mut instance = idle.pop()?;
            if instance.lives() {
                return Some(instance);
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, request: &str, took: Duration, init: Option<Duration>, outcome: &Outcome) {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let took = format!("REPORT RequestId: {request} Duration: {}", ms(took));
        let init = init.map(|init| format!("Init Duration: {}", ms(init)));
        let status = outcome.as_ref().err();
        let status = status.map(|error| format!("Status: {}", one_line(&error.to_string())));
        let parts: Vec<String> = [Some(took), init, status].into_iter().flatten().collect();
        self.log.line(&parts.join(" "));
    }
}

fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A trace that nobody samples, in X-Ray's form.
fn trace() -> String {
    let id = Uuid::new_v4().simple().to_string();
    let (parent, rest) = id.split_at(16);
    let more = Uuid::new_v4().simple().to_string();
    let root: String = rest.chars().chain(more.chars()).take(24).collect();
    format!(
        "Root=1-{:08x}-{root};Parent={parent};Sampled=0",
        now().as_secs()
    )
}
