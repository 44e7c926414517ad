//! Which services there are and who calls whom.

use crate::recording::{Edge, Node, Topology};

/// Our own services, each before those that call it.
pub const SERVICES: [&str; 5] = [
    "inventory",
    "payment",
    "recommendation",
    "checkout",
    "frontend",
];

/// Who calls whom.
const CALLS: [(&str, &str); 8] = [
    ("frontend", "checkout"),
    ("frontend", "recommendation"),
    ("frontend", "inventory"),
    ("checkout", "inventory"),
    ("checkout", "payment"),
    ("recommendation", "inventory"),
    ("payment", "acmepay"),
    ("inventory", "inventory-db"),
];

/// The call graph, as the recording holds it.
#[must_use]
pub fn topology() -> Topology {
    let node = |name: &str, kind: &str| Node {
        name: name.to_owned(),
        kind: kind.to_owned(),
    };
    let mut services: Vec<Node> = SERVICES.iter().map(|name| node(name, "service")).collect();
    services.push(node("inventory-db", "database"));
    services.push(node("acmepay", "external"));
    let edges = CALLS.iter().map(|(from, to)| Edge {
        from: (*from).into(),
        to: (*to).into(),
    });
    Topology {
        services,
        edges: edges.collect(),
    }
}
