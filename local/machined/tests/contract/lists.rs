//! Lists: pages, filters, metadata and the organisation's view.

use std::collections::BTreeMap;

use nightshift_machines::{NewNetworkPolicy, PolicyPort, Protocol};

use crate::world::{ORG, World};

#[tokio::test]
async fn a_long_list_comes_in_pages_that_add_up() {
    let world = World::new().await;
    let app = world.app("a").await;
    for nth in 0..5 {
        let new = world.new_machine(&format!("m{nth}"), "true");
        world.client.create_machine(&app, &new).await.unwrap();
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/apps/a/machines?limit=2{cursor}");
        let answer = world.call("GET", &path, None).await;
        let next = answer.headers().get("fly-next-cursor").cloned();
        let page: Vec<serde_json::Value> = answer.json().await.unwrap();
        assert!(page.len() <= 2);
        ids.extend(
            page.iter()
                .map(|machine| machine["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = next else { break };
        cursor = format!("&cursor={}", next.to_str().unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert_eq!(world.client.machines(&app).await.unwrap().len(), 5);
    assert_eq!(
        world.client.org_machines(ORG).await.unwrap().machines.len(),
        5
    );
    assert_eq!(
        world
            .refused("GET", "/v1/apps/a/machines?limit=1001", None)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn metadata_finds_a_machine_and_changing_it_changes_nothing_else() {
    let world = World::new().await;
    let made = world.make("a", "true").await;
    let (app, id) = (&made.app, &made.machine.id);
    let words = BTreeMap::from([("pool".to_owned(), Some("blue".to_owned()))]);
    world.client.set_metadata(app, id, &words).await.unwrap();
    let read = world.client.metadata(app, id).await.unwrap();
    assert_eq!(read["pool"], "blue");
    let machine = world.client.machine(app, id).await.unwrap();
    assert_eq!(machine.instance_id, made.machine.instance_id);

    let found = |query: &str| format!("/v1/apps/a/machines?{query}");
    for (query, expected) in [
        ("metadata.pool=blue", 1),
        ("metadata.pool=red", 0),
        ("metadata.pool=blue&state=stopped", 1),
        ("state=started,starting", 0),
    ] {
        let answer = world.call("GET", &found(query), None).await;
        let page: Vec<serde_json::Value> = answer.json().await.unwrap();
        assert_eq!(page.len(), expected, "{query}");
    }
    let none = BTreeMap::from([("pool".to_owned(), None)]);
    world.client.set_metadata(app, id, &none).await.unwrap();
    assert!(
        !world
            .client
            .metadata(app, id)
            .await
            .unwrap()
            .contains_key("pool")
    );
}

#[tokio::test]
async fn network_policies_are_kept_with_their_app() {
    let world = World::new().await;
    world.app("a").await;
    let ports = [PolicyPort {
        protocol: Protocol::Tcp,
        port: 443,
    }];
    let new = NewNetworkPolicy::egress_only("sandbox", &ports);
    let made = world.client.create_network_policy("a", &new).await.unwrap();
    let listed = world.client.network_policies("a").await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&made));
    assert_eq!(listed[0].policy, new);
    world
        .client
        .delete_network_policy("a", &made.id)
        .await
        .unwrap();
    assert!(world.client.network_policies("a").await.unwrap().is_empty());
    let again = world.client.delete_network_policy("a", &made.id).await;
    assert!(again.unwrap_err().is_gone());
}
