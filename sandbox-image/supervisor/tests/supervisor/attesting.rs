//! What the supervisor does with the session endpoint's answers.

use std::time::{Duration, Instant};

use nightshift_supervisor::{
    http_client::HttpClient,
    identity::Identity,
    session::{Session, SessionError},
};

use crate::{
    probe::Action,
    world::{World, end_of},
};

#[tokio::test]
async fn a_ready_sandbox_checks_itself_and_ends_well_without_a_token() {
    let world = World::new();
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    assert!(world.log().contains("self-check passed"), "{}", world.log());
    let platform = world.platform.lock().unwrap();
    assert!(platform.issued.is_empty());
    assert_eq!(platform.attests, 1);
}

#[tokio::test]
async fn a_sandbox_whose_harness_does_not_start_is_not_ready() {
    for broken in ["#!/bin/sh\nexit 3\n", "#!/no/such/interpreter\n"] {
        let world = World::new();
        std::fs::write(world.path("harness"), broken).unwrap();
        assert_eq!(world.run().await, Some(70), "{}", world.log());
        assert!(world.log().contains("`harness` failed"), "{}", world.log());
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_has_its_own_exit_code() {
    for (refusal, code) in [
        ((410, "superseded"), 75),
        ((401, "bad-statement"), 76),
        ((409, "already-attested"), 76),
    ] {
        let world = World::claimed(&[]);
        world.platform.lock().unwrap().refuse_attest = vec![refusal];
        assert_eq!(world.run().await, Some(code), "{}", world.log());
        assert_eq!(world.platform.lock().unwrap().attests, 1, "{refusal:?}");
        assert!(world.results().is_empty(), "nothing was done");
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_with_a_new_statement() {
    let world = World::claimed(&[Action::Exit(7)]);
    world.platform.lock().unwrap().refuse_attest = vec![(503, ""), (500, "")];
    assert_eq!(world.run().await, Some(7), "{}", world.log());
    assert_eq!(world.violations(), [""; 0], "a statement works once");
    assert_eq!(world.platform.lock().unwrap().statements_issued, 3);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_in_time() {
    let world = World::new();
    let identity = Identity::new(HttpClient::new(world.path("identity.sock")));
    let nobody = HttpClient::new(world.path("nobody.sock"));
    let patience = Duration::from_millis(300);
    let session = Session::new(nobody, identity, "http://session.test".to_owned(), patience);
    let started = Instant::now();
    assert!(matches!(
        session.attest().await,
        Err(SessionError::Unreachable { .. })
    ));
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(world.platform.lock().unwrap().statements_issued > 1);
}

#[tokio::test]
async fn without_its_configuration_it_names_every_missing_variable() {
    let world = World::new();
    let mut child = world.command().env_clear().spawn().unwrap();
    assert_eq!(end_of(&mut child).await, Some(78));
    for name in [
        "NIGHTSHIFT_SESSION",
        "NIGHTSHIFT_GATEWAY_SOCKET",
        "NIGHTSHIFT_UIDS",
    ] {
        assert!(world.log().contains(name), "{}", world.log());
    }
}
