//! The closed set of signing keys: when it is fetched, how long it is used, and what is in it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nightshift_mcp_kit::{JwkSet, KeySource, Keyring, KeysUnavailable, Pending, testing::Issuer};
use serde_json::json;

/// Gives the keys that it was made with and counts how often.
struct Counted(Arc<AtomicUsize>, Result<JwkSet, KeysUnavailable>);

impl KeySource for Counted {
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let answer = self.1.clone();
        Box::pin(async move { answer })
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_makes_us_look_again_but_not_on_every_request() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let keys = JwkSet {
        keys: vec![Issuer::new("key-1").jwk],
    };
    let ring = Keyring::new(Counted(Arc::clone(&fetched), Ok(keys)));

    for _ in 0..100 {
        assert!(ring.key("key-1").await.unwrap().is_some());
        assert!(ring.key("key-2").await.unwrap().is_none());
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);

    tokio::time::advance(Duration::from_secs(11)).await;
    for _ in 0..100 {
        assert!(ring.key("key-2").await.unwrap().is_none());
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 2);

    tokio::time::advance(Duration::from_mins(5)).await;
    assert!(ring.key("key-1").await.unwrap().is_some());
    assert_eq!(fetched.load(Ordering::SeqCst), 3);
}

/// Gives what it holds at the moment.
#[derive(Clone)]
struct Changing(Arc<Mutex<Result<JwkSet, KeysUnavailable>>>);

impl Changing {
    fn of(names: &[&str]) -> Self {
        let changing = Self(Arc::new(Mutex::new(Err(KeysUnavailable(String::new())))));
        changing.now_has(names);
        changing
    }

    fn now_has(&self, names: &[&str]) {
        let keys = names.iter().map(|name| Issuer::new(name).jwk).collect();
        *self.0.lock().unwrap() = Ok(JwkSet { keys });
    }

    fn is_away(&self) {
        *self.0.lock().unwrap() = Err(KeysUnavailable("away".to_owned()));
    }
}

impl KeySource for Changing {
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>> {
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async move { answer })
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_used_for_five_minutes_without_their_source_and_not_longer() {
    let source = Changing::of(&["key-1"]);
    let ring = Keyring::new(source.clone());
    assert!(ring.key("key-1").await.unwrap().is_some());

    source.is_away();
    for _ in 0..59 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(ring.key("key-1").await.unwrap().is_some());
        // Names that nobody knows do not make the others worse.
        assert!(ring.key("key-2").await.unwrap().is_none());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(ring.key("key-1").await.is_err());
    assert!(Keyring::new(source).key("key-1").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_left_the_set_is_not_accepted_and_no_request_waits_for_that() {
    let source = Changing::of(&["key-1", "key-2"]);
    let ring = Keyring::new(source.clone());
    assert!(ring.key("key-1").await.unwrap().is_some());
    source.now_has(&["key-2"]);

    tokio::time::sleep(Duration::from_secs(61)).await;
    // This one still finds it, and has it looked up beside it.
    assert!(ring.key("key-1").await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(ring.key("key-1").await.unwrap().is_none());
    assert!(ring.key("key-2").await.unwrap().is_some());
}

#[tokio::test]
async fn keys_of_other_kinds_are_not_taken_into_the_set() {
    let mut for_encryption = serde_json::to_value(Issuer::new("key-1").jwk).unwrap();
    for_encryption["use"] = json!("enc");
    let mut other_algorithm = serde_json::to_value(Issuer::new("key-2").jwk).unwrap();
    other_algorithm["alg"] = json!("ES384");
    let mut nameless = serde_json::to_value(Issuer::new("key-3").jwk).unwrap();
    nameless.as_object_mut().unwrap().remove("kid");
    let symmetric = json!({ "kty": "oct", "kid": "key-4", "k": "c2VjcmV0", "alg": "HS256" });
    let good = serde_json::to_value(Issuer::new("key-5").jwk).unwrap();
    let set = json!({ "keys": [for_encryption, other_algorithm, nameless, symmetric, good] });

    let set: JwkSet = serde_json::from_value(set).unwrap();
    let ring = Keyring::new(Counted(Arc::default(), Ok(set)));

    for (name, known) in [
        ("key-1", false),
        ("key-2", false),
        ("key-4", false),
        ("key-5", true),
    ] {
        assert_eq!(ring.key(name).await.unwrap().is_some(), known, "{name}");
    }
}
