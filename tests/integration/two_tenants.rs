//! Two tenants with live runs at the same servers, each calling every tool with what the other's things are
//! called: control `tenant-connection`. The casebook's tools are tried in its own tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use nightshift_codebase::CodebaseServer;
use nightshift_domain::{InvestigationId, TenantId};
use nightshift_mcp_kit::testing::TestServer;
use nightshift_telemetry::TelemetryServer;
use serde_json::{Value, json};

/// Each tenant's recording.
const OURS: &str = "slow-browse";
const THEIRS: &str = "failed-payments";

/// The stores of both tenants, on disk.
struct Shelf(PathBuf);

impl Shelf {
    fn of(name: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("two-tenants-{name}"));
        let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../local/shop/recordings");
        let _ = fs::remove_dir_all(&folder);
        for recording in [OURS, THEIRS] {
            let to = folder.join(recording).join("incident");
            fs::create_dir_all(&to)?;
            for file in fs::read_dir(recordings.join(recording))? {
                let file = file?;
                fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        Ok(Self(folder))
    }

    fn stores(&self) -> [(String, String); 2] {
        [OURS, THEIRS].map(|name| (name.to_owned(), self.0.join(name).display().to_string()))
    }

    /// Whatever asks for anything of it from here on fails loudly instead of finding it.
    fn take_theirs_away(&self) -> Result<()> {
        for file in fs::read_dir(self.0.join(THEIRS).join("incident"))? {
            fs::remove_file(file?.path())?;
        }
        Ok(())
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Both servers over the same stores, called by each tenant's run.
struct Servers {
    ours: [TestServer; 2],
    theirs: [TestServer; 2],
}

fn servers(shelf: &Shelf) -> Result<Servers> {
    let telemetry = nightshift_telemetry::Connections::index(&shelf.stores())?;
    let codebase = nightshift_codebase::Connections::index(&shelf.stores())?;
    let run = |recording: &str| -> Result<[TestServer; 2]> {
        let alert = shelf.0.join(recording).join("incident/alert.json");
        let alert: Value = serde_json::from_str(&fs::read_to_string(alert)?)?;
        let fired_at: DateTime<Utc> = serde_json::from_value(alert["fired_at"].clone())?;
        let connection = json!({"backend": "recording", "store": recording});
        let connections: BTreeMap<String, Value> = ["telemetry", "codebase"]
            .map(|server| (server.to_owned(), connection.clone()))
            .into();
        let telemetry = TelemetryServer::new(telemetry.clone())?;
        let codebase = CodebaseServer::new(codebase.clone())?;
        Ok([
            TestServer::new(telemetry, fired_at, connections.clone()).0,
            TestServer::new(codebase, fired_at, connections).0,
        ])
    };
    Ok(Servers {
        ours: run(OURS)?,
        theirs: run(THEIRS)?,
    })
}

/// What a tenant's things are called.
struct Names {
    commits: BTreeSet<String>,
    traces: BTreeSet<String>,
}

async fn names(shelf: &Shelf, recording: &str, servers: &[TestServer; 2]) -> Result<Names> {
    let deploys = shelf.0.join(recording).join("incident/deploys.json");
    let deploys: Value = serde_json::from_str(&fs::read_to_string(deploys)?)?;
    let traces = servers[0].call("query_traces", json!({"limit": 20})).await;
    let all = |list: &Value, name: &str| -> BTreeSet<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(item[name].as_str()?.to_owned()))
            .collect()
    };
    Ok(Names {
        commits: all(&deploys, "commit"),
        traces: all(&traces.structured()["answer"]["traces"], "trace_id"),
    })
}

impl Names {
    /// Those that the other does not have as well: one system's early commits are in both recordings.
    fn without(self, other: &Self) -> Self {
        Self {
            commits: &self.commits - &other.commits,
            traces: &self.traces - &other.traces,
        }
    }

    fn commit(&self) -> Result<&str> {
        self.commits
            .first()
            .map(String::as_str)
            .context("they have no commit of their own")
    }

    fn trace(&self) -> Result<&str> {
        self.traces
            .first()
            .map(String::as_str)
            .context("they have no trace of their own")
    }
}

/// Every tool with every identifier that it could take.
fn questions(
    (commit, trace): (&str, &str),
    other: (TenantId, InvestigationId),
) -> Vec<(&'static str, Value)> {
    let mut asked = vec![
        ("list_services", json!({})),
        ("query_logs", json!({"trace_id": trace})),
        ("query_logs", json!({"contains": trace})),
        ("query_metrics", json!({"metric": THEIRS})),
        ("query_traces", json!({"trace_id": trace})),
        ("rank_metric_anomalies", json!({})),
        ("compare_log_templates", json!({})),
        ("compare_trace_edges", json!({})),
        ("list_deploys", json!({})),
        ("list_flags", json!({})),
        ("list_commits", json!({})),
        // Not the whole name, so that an answer that repeats the question is no find.
        ("read_commit", json!({"commit": commit[..12]})),
        ("search_code", json!({"pattern": THEIRS})),
        (
            "read_file",
            json!({"path": format!("../{THEIRS}/incident/alert.json")}),
        ),
        (
            "read_file",
            json!({"path": format!("/{THEIRS}/incident/commits.json.gz")}),
        ),
    ];
    // Whoever could say for whom it asks would try this.
    for (_, arguments) in &mut asked.clone() {
        let (tenant, investigation) = other;
        arguments["tenant"] = json!(tenant);
        arguments["investigation"] = json!(investigation);
        arguments["store"] = json!(THEIRS);
        arguments["connection"] = json!({"backend": "recording", "store": THEIRS});
        asked.push(("", arguments.clone()));
    }
    let half = asked.len() / 2;
    for number in half..asked.len() {
        asked[number].0 = asked[number - half].0;
    }
    asked
}

#[tokio::test]
async fn no_tool_finds_what_another_tenant_has_nor_asks_its_backend_for_it() -> Result<()> {
    let shelf = Shelf::of("apart")?;
    let intact = servers(&shelf)?;
    let mine = names(&shelf, OURS, &intact.ours).await?;
    let theirs = names(&shelf, THEIRS, &intact.theirs).await?.without(&mine);
    let (commit, trace) = (theirs.commit()?, theirs.trace()?);
    let other = (
        intact.theirs[0].run.tenant,
        intact.theirs[0].run.investigation,
    );
    let asked = questions((commit, trace), other);

    // Their own run finds what it is asked for: the names are good ones.
    let asks = json!({"commit": commit[..12]});
    let own = intact.theirs[1].call("read_commit", asks).await;
    assert!(own.text.contains(commit), "{}", own.text);

    let servers = servers(&shelf)?;
    shelf.take_theirs_away()?;
    let mut tried = BTreeSet::new();
    for server in &servers.ours {
        let tools = server.list_as(nightshift_domain::Scope::ALL).await;
        for (tool, arguments) in asked
            .iter()
            .filter(|(tool, _)| tools.iter().any(|it| it == tool))
        {
            let answer = server.call(tool, arguments.clone()).await;
            let mark = theirs
                .commits
                .union(&theirs.traces)
                .find(|mark| answer.text.contains(*mark) && !arguments.to_string().contains(*mark));
            assert_eq!(mark, None, "{tool} {arguments}: {}", answer.text);
            assert!(
                !answer.text.contains("cannot be read"),
                "{tool} asked their backend: {}",
                answer.text
            );
            let by_name = arguments.get("trace_id").or(arguments.get("contains"));
            if by_name.is_some() {
                let result = &answer.body["result"];
                let found = result["structuredContent"]["answer"]["matched"] != 0;
                let nothing = result["isError"] == true || !found;
                assert!(nothing, "{tool} {arguments}: {}", answer.text);
            }
            tried.insert((*tool).to_owned());
        }
        let left: Vec<&String> = tools.iter().filter(|tool| !tried.contains(*tool)).collect();
        assert!(left.is_empty(), "nobody tried {left:?}");
    }
    // A request to their backend would have been noticed: theirs is.
    for (server, tool) in [(0, "query_logs"), (1, "list_commits")] {
        let answer = servers.theirs[server].call(tool, json!({})).await;
        assert!(
            answer.text.contains("cannot be read"),
            "{tool}: {}",
            answer.text
        );
    }
    Ok(())
}
