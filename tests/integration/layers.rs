//! Who may use whom, which licences come in, and one TLS provider: told by `cargo metadata`, so it
//! holds without any extra tool. `deny.toml` says the same to those who have cargo-deny.

mod deny;
mod licence;
mod metadata;

use metadata::{Package, Workspace};

/// What a folder's crates may use of ours. The longest matching folder decides.
const LAYERS: &[(&str, &[&str])] = &[
    ("crates/domain", &[]),
    ("crates/protocol", &["nightshift-domain"]),
    ("crates/controls", &[]),
    ("crates/http", &["nightshift-controls"]),
    (
        "crates/secrets",
        &[
            "nightshift-controls",
            "nightshift-domain",
            "nightshift-http",
        ],
    ),
    ("crates/store", BELOW_STORE),
    (
        "crates/machines",
        &[
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-http",
        ],
    ),
    (
        "crates/engine",
        &[
            "nightshift-controls",
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-store",
            "nightshift-machines",
        ],
    ),
    (
        "crates/lambda",
        &[
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-store",
            "nightshift-machines",
            "nightshift-engine",
            "nightshift-http",
        ],
    ),
    (
        "functions",
        &[
            "nightshift-controls",
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-store",
            "nightshift-machines",
            "nightshift-engine",
            "nightshift-http",
            "nightshift-lambda",
        ],
    ),
    // Hostile territory and what serves it cannot even link the database.
    ("sandbox-image", SANDBOX),
    (
        "mcp-servers/kit",
        &[
            "nightshift-controls",
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-http",
        ],
    ),
    ("mcp-servers", SERVER),
    (
        "mcp-servers/observer",
        &[
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-mcp-kit",
            "nightshift-secrets",
        ],
    ),
    (
        "mcp-servers/casebook",
        &[
            "nightshift-controls",
            "nightshift-domain",
            "nightshift-protocol",
            "nightshift-mcp-kit",
            "nightshift-store",
        ],
    ),
];
const BELOW_STORE: &[&str] = &["nightshift-domain", "nightshift-protocol"];
const SANDBOX: &[&str] = &[
    "nightshift-controls",
    "nightshift-domain",
    "nightshift-protocol",
];
const SERVER: &[&str] = &[
    "nightshift-controls",
    "nightshift-domain",
    "nightshift-protocol",
    "nightshift-http",
    "nightshift-mcp-kit",
    "nightshift-observer",
];

/// Folders that may use everything and that nobody else uses.
const TOP: [&str; 2] = ["local", "tests"];

/// Crates that speak SQL, and the only folders that may name them.
const SQL_CRATES: [&str; 2] = ["sqlx", "tokio-postgres"];
const SQL_FOLDERS: [&str; 3] = ["crates/store", "local", "tests"];

/// The one crate that chooses the TLS implementation, for all.
const TLS_CHOOSER: &str = "nightshift-http";

/// The crate that knows the controls, its feature that lets them be switched off, and the only package that
/// may have that feature: the attack suite, where it is off unless asked for.
const CONTROLS: (&str, &str) = ("nightshift-controls", "weakened");
const ATTACKER: &str = "nightshift-security";

/// Crates that must not be linked into anything that a sandbox runs or reaches without a database.
const NEVER_WITHOUT_A_DATABASE: [&str; 3] = ["nightshift-store", "sqlx-core", "tokio-postgres"];

/// What is wrong with the dependencies, one line each.
fn violations(workspace: &Workspace) -> Vec<String> {
    let mut found = Vec::new();
    for package in workspace.ours() {
        found.extend(layer_violations(workspace, package));
        found.extend(sql_violations(workspace, package));
    }
    for user in workspace.users_of("rustls") {
        if user != TLS_CHOOSER {
            found.push(format!("{user} chooses TLS beside {TLS_CHOOSER}"));
        }
    }
    for package in workspace.theirs() {
        let licence = package.licence.as_deref().unwrap_or("none");
        if !licence::is_allowed(licence) {
            found.push(format!("{} has the licence {licence}", package.name));
        }
        if package.name.starts_with("aws-lc") || package.name == "openssl-sys" {
            found.push(format!(
                "{} is a second TLS provider beside ring",
                package.name
            ));
        }
    }
    found
}

/// Whoever could get a build in which controls can be switched off, beside the attack suite.
fn switch_violations(workspace: &Workspace) -> Vec<String> {
    let (controls, weakened) = CONTROLS;
    let wanted = [format!("{controls}/{weakened}")];
    let mut found = Vec::new();
    for package in workspace.ours() {
        for (feature, means) in &package.features {
            let switches = means.iter().any(|it| it.contains(weakened));
            let may = package.name == ATTACKER && feature == weakened && *means == wanted;
            if switches && !may {
                found.push(format!("{} has switches by `{feature}`", package.name));
            }
        }
        for (name, features) in &package.asked_features {
            if name == controls && !features.is_empty() {
                found.push(format!("{} always has switches", package.name));
            }
        }
        let is_off = package.features.get("default").is_none_or(Vec::is_empty);
        if [controls, ATTACKER].contains(&package.name.as_str()) && !is_off {
            found.push(format!("{} has switches by default", package.name));
        }
    }
    found
}

fn layer_violations(workspace: &Workspace, package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    let used = workspace.our_dependencies(package);
    if is_in_one_of(&package.folder, &TOP) {
        return found;
    }
    let Some(allowed) = layer_of(&package.folder) else {
        return vec![format!(
            "{} stands in a folder without a layer",
            package.name
        )];
    };
    for used in used {
        if !allowed.contains(&used.as_str()) {
            found.push(format!("{} may not use {used}", package.name));
        }
    }
    found
}

fn sql_violations(workspace: &Workspace, package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for name in SQL_CRATES {
        let names_it = package.dependencies.iter().any(|used| used == name);
        if names_it && !is_in_one_of(&package.folder, &SQL_FOLDERS) {
            found.push(format!("{} may not use {name}", package.name));
        }
    }
    let has_none = is_in_one_of(&package.folder, &["sandbox-image", "mcp-servers"])
        && package.folder != "mcp-servers/casebook";
    if has_none {
        let linked = workspace.linked_into(package);
        for name in NEVER_WITHOUT_A_DATABASE {
            if linked.contains(name) {
                found.push(format!("{} must not link {name}", package.name));
            }
        }
    }
    found
}

fn layer_of(folder: &str) -> Option<&'static [&'static str]> {
    LAYERS
        .iter()
        .filter(|(layer, _)| is_in_one_of(folder, &[layer]))
        .max_by_key(|(layer, _)| layer.len())
        .map(|(_, allowed)| *allowed)
}

fn is_in_one_of(folder: &str, layers: &[&str]) -> bool {
    layers.iter().any(|layer| {
        folder
            .strip_prefix(layer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[test]
fn dependencies_point_one_way_and_licences_and_tls_are_as_agreed() {
    let workspace = Workspace::read();
    assert!(workspace.ours().count() > 15, "the workspace was not read");
    assert!(
        workspace.theirs().any(|package| package.name == "ring"),
        "ring is the TLS provider"
    );
    let found = violations(&workspace);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_attack_suite_can_be_built_with_switches_and_only_when_it_is_asked_for() {
    let mut workspace = Workspace::read();
    assert_eq!(switch_violations(&workspace), Vec::<String>::new());
    workspace.pretend_feature("nightshift-security", "default", "weakened");
    workspace.pretend_feature(
        "nightshift-telemetry",
        "debug",
        "nightshift-controls/weakened",
    );
    let found = switch_violations(&workspace);
    for line in [
        "nightshift-security has switches by `default`",
        "nightshift-security has switches by default",
        "nightshift-telemetry has switches by `debug`",
    ] {
        assert!(found.iter().any(|found| found == line), "{line}: {found:?}");
    }
}

#[test]
fn a_normal_build_does_not_listen_to_the_variable_that_names_controls() {
    use nightshift_controls::{Control, WITHOUT, has_switches, holds};

    assert!(!has_switches());
    assert!(Control::ALL.iter().all(|control| holds(*control)));
    if std::env::var_os(WITHOUT).is_none() {
        let name = "layers::a_normal_build_does_not_listen_to_the_variable_that_names_controls";
        let told = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(WITHOUT, "all")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[test]
fn a_crate_that_looks_upwards_is_named() {
    let mut workspace = Workspace::read();
    workspace.pretend("nightshift-domain", "nightshift-store");
    workspace.pretend("nightshift-supervisor", "nightshift-store");
    workspace.pretend("nightshift-telemetry", "sqlx");
    workspace.pretend("nightshift-api", "nightshift-cli");
    workspace.pretend("nightshift-session", "rustls");
    let found = violations(&workspace);
    for line in [
        "nightshift-domain may not use nightshift-store",
        "nightshift-supervisor may not use nightshift-store",
        "nightshift-telemetry may not use sqlx",
        "nightshift-api may not use nightshift-cli",
        "nightshift-session chooses TLS beside nightshift-http",
    ] {
        assert!(found.iter().any(|found| found == line), "{line}: {found:?}");
    }
}

#[test]
fn what_a_neighbour_brings_along_counts_as_linked() {
    let mut workspace = Workspace::read();
    workspace.pretend("nightshift-protocol", "nightshift-store");
    let found = violations(&workspace);
    let line = "nightshift-harness must not link nightshift-store";
    assert!(found.iter().any(|found| found == line), "{found:?}");
}

#[test]
fn the_file_for_cargo_deny_names_exactly_who_uses_what() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    let wrappers = deny::wrappers();
    assert!(wrappers.len() > 10, "deny.toml was not read");
    for (name, allowed) in wrappers {
        let users = workspace.users_of(&name);
        if users != allowed {
            wrong.push(format!(
                "{name}: deny.toml allows {allowed:?}, but {users:?} use it"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
