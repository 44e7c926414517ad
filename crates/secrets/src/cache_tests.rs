//! What is remembered, for whom, and for how long: control `credential-cache`.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{sync::Notify, time::advance};

use super::*;

/// Answers with whose credential it is, after as many turns of the scheduler as it is told.
#[derive(Debug, Default)]
struct Source {
    asked: AtomicUsize,
    turns: usize,
    hold: Option<Arc<Notify>>,
}

impl Secrets for Source {
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>> {
        Box::pin(async move {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            for _ in 0..(asked * 7) % (self.turns + 1) {
                tokio::task::yield_now().await;
            }
            if let Some(hold) = &self.hold {
                hold.notified().await;
            }
            Ok(Credential::new(format!("{}:{name}", reader.tenant).into()))
        })
    }
}

fn reader(tenant: TenantId) -> Reader {
    Reader {
        tenant,
        run: InvestigationId::generate(),
        epoch: nightshift_domain::Epoch(1),
    }
}

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

fn asked(cached: &Cached<Source>) -> usize {
    cached.source.asked.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_credential_is_asked_for_once_a_minute_and_is_gone_from_memory_after_it() {
    let cached = Cached::new(Source::default());
    let (reader, name) = (reader(TenantId::generate()), name("prometheus"));
    let first = cached.read(reader, &name).await.unwrap();
    advance(Duration::from_millis(59_999)).await;
    cached.read(reader, &name).await.unwrap();
    assert_eq!(asked(&cached), 1);
    assert_eq!(first.holders(), 2, "the cache holds it beside us");

    advance(Duration::from_millis(2)).await;
    tokio::task::yield_now().await;
    assert_eq!(
        first.holders(),
        1,
        "nobody asked again, and still the cache let go of it"
    );
    cached.read(reader, &name).await.unwrap();
    assert_eq!(asked(&cached), 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_last_run_that_asked_forgets_and_that_of_another_does_not() {
    let cached = Cached::new(Source::default());
    let tenant = TenantId::generate();
    let (one, two, name) = (reader(tenant), reader(tenant), name("loki"));
    let held = cached.read(one, &name).await.unwrap();
    cached.read(two, &name).await.unwrap();

    cached.end(InvestigationId::generate());
    cached.end(one.run);
    assert!(cached.holds_for(two.run) && !cached.holds_for(one.run));
    assert_eq!(held.holders(), 2);
    cached.end(two.run);
    assert_eq!(held.holders(), 1);
    assert_eq!(asked(&cached), 1);
}

#[tokio::test]
async fn a_run_that_ends_while_its_credential_is_on_its_way_leaves_nothing_behind() {
    let hold = Arc::new(Notify::new());
    let cached = Cached::new(Source {
        hold: Some(Arc::clone(&hold)),
        ..Source::default()
    });
    let (reader, name) = (reader(TenantId::generate()), name("loki"));
    let reading = tokio::spawn({
        let (cached, name) = (cached.clone(), name.clone());
        async move { cached.read(reader, &name).await }
    });
    while asked(&cached) == 0 {
        tokio::task::yield_now().await;
    }
    cached.end(reader.run);
    hold.notify_one();
    let given = reading.await.unwrap().unwrap();
    assert_eq!(given.holders(), 1);
    assert!(!cached.holds_for(reader.run));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_readers_at_once_never_get_a_credential_of_another_tenant_or_name() {
    let cached = Cached::new(Source {
        turns: 13,
        ..Source::default()
    });
    let tenants: Vec<TenantId> = (0..8).map(|_| TenantId::generate()).collect();
    let names = ["loki", "prometheus", "pagerduty"].map(name);
    let mut reading = Vec::new();
    for number in 0..1_000 {
        let (cached, name) = (cached.clone(), names[number % 3].clone());
        let reader = reader(tenants[(number * 5) % tenants.len()]);
        reading.push(tokio::spawn(async move {
            let got = cached.read(reader, &name).await.unwrap();
            if number % 11 == 0 {
                cached.end(reader.run);
            }
            assert_eq!(got.expose(), format!("{}:{name}", reader.tenant));
        }));
    }
    for read in reading {
        read.await.unwrap();
    }
    assert!(asked(&cached) < 1_000, "something was remembered");
}

#[tokio::test]
async fn neither_the_cache_nor_a_credential_shows_what_it_holds() {
    let cached = Cached::new(Source::default());
    let (reader, name) = (reader(TenantId::generate()), name("loki"));
    let credential = cached.read(reader, &name).await.unwrap();
    let shown = format!("{cached:?} {credential:?} {credential:#?}");
    assert!(!shown.contains(credential.expose()), "{shown}");
}
