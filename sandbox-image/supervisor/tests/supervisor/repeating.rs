//! Requests whose server is away for a moment: sent again where that cannot do anything twice.

use crate::{
    probe::{Action, post},
    world::World,
};

const NOT_SENT: Option<&str> = Some("x-gateway-not-sent");
const LATER: Option<&str> = Some("retry-after");

fn calling(method: &str) -> Action {
    Action::Post {
        host: "telemetry.test".to_owned(),
        path: "/mcp".to_owned(),
        headers: format!("Mcp-Method: {method}\r\n"),
        body: "one".to_owned(),
    }
}

/// Runs one request while servers are `away`: what the harness got, how many a server saw, and how many of
/// the gateway's own answers were not needed.
async fn run(action: Action, away: &[(u16, Option<&'static str>)]) -> (String, usize, usize) {
    let world = World::claimed(&[action]);
    world.platform.lock().unwrap().away = away.to_vec();
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    let result = world.results()[0].clone();
    let platform = world.platform.lock().unwrap();
    assert_eq!(
        platform.violations, [""; 0],
        "each attempt has a proof of its own"
    );
    (result, platform.upstream.len(), platform.away.len())
}

#[tokio::test]
async fn a_request_that_nobody_has_looked_at_is_sent_until_somebody_does() {
    let away = [
        (502, NOT_SENT),
        (502, NOT_SENT),
        (503, LATER),
        (502, NOT_SENT),
    ];
    for action in [calling("tools/call"), post("casebook.test", "one")] {
        let (result, seen, left) = run(action, &away).await;
        assert!(result.contains("served one"), "{result}");
        assert_eq!((seen, left), (1, 0));
    }
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again_unless_it_only_asks() {
    let broke = [(502, None)];
    let (result, seen, _) = run(calling("tools/call"), &broke).await;
    assert!(result.starts_with("HTTP/1.1 502"), "{result}");
    assert_eq!(seen, 0);
    let (result, seen, _) = run(post("llm.test", "one"), &broke).await;
    assert!(result.starts_with("HTTP/1.1 502"), "{result}");
    assert_eq!(seen, 0);
    let (result, seen, _) = run(calling("tools/list"), &broke).await;
    assert!(result.contains("served one"), "{result}");
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn what_the_models_gateway_says_of_its_provider_is_for_the_harness() {
    let (result, seen, _) = run(post("llm.test", "one"), &[(503, LATER)]).await;
    assert!(result.starts_with("HTTP/1.1 503"), "{result}");
    assert_eq!(seen, 0);
}
