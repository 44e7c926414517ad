//! One sandbox's surroundings, and the harness in them.

use std::{path::PathBuf, time::Duration};

use chrono::DateTime;
use nightshift_domain::{InvestigationId, alert::Severity, report::ReportDraft};
use nightshift_harness::{
    Finish, Harness as _,
    config::Config,
    model::Patience,
    run::{Native, RunError},
    session::Session,
};
use nightshift_protocol::{
    Brief,
    brief::{Endpoints, Limits},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    fakes::Fakes,
    model_fake::{Turn, calls, says},
};

pub(crate) struct World {
    pub(crate) fakes: Fakes,
    pub(crate) seen: mpsc::UnboundedReceiver<String>,
    pub(crate) brief: Brief,
    pub(crate) native: Native,
    directory: TempDir,
    serving: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl World {
    pub(crate) fn new(script: Vec<Turn>) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("agent.sock");
        let (fakes, seen, serving) = Fakes::start(&socket);
        *fakes.model.script.lock().unwrap() = script;
        let config = Config {
            socket,
            session_dir: directory.path().to_owned(),
        };
        let native = Native {
            config,
            patience: Patience {
                attempts: 3,
                first_pause: Duration::from_millis(1),
                longest_pause: Duration::from_millis(5),
            },
            return_patience: Duration::from_millis(400),
            heartbeat: Duration::from_secs(15),
        };
        let mut world = Self {
            fakes,
            seen,
            brief: brief(),
            native,
            directory,
            serving,
        };
        world.brief.limits = Limits {
            wall_seconds: 60,
            ..Limits::default()
        };
        world
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.native.config.socket.clone()
    }

    pub(crate) fn session_dir(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) async fn work(&self) -> Result<Finish, RunError> {
        self.native
            .work(self.brief.clone(), std::future::pending())
            .await
    }

    pub(crate) fn session(&self) -> Session {
        let text = std::fs::read(self.directory.path().join("session.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.fakes.model.violations.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.fakes.model.requests.lock().unwrap().len()
    }

    pub(crate) fn reports(&self) -> Vec<Value> {
        self.fakes.case.lock().unwrap().reports.clone()
    }

    pub(crate) fn called(&self, tool: &str) -> usize {
        let case = self.fakes.case.lock().unwrap();
        case.calls.iter().filter(|(name, _)| name == tool).count()
    }
}

pub(crate) fn brief() -> Brief {
    Brief {
        investigation: InvestigationId::generate(),
        title: "Checkout is slow".to_owned(),
        service: Some("checkout".to_owned()),
        severity: Severity::High,
        fired_at: DateTime::UNIX_EPOCH,
        instructions: "You investigate alerts.".to_owned(),
        model: "test-model".to_owned(),
        endpoints: Endpoints {
            telemetry: "http://telemetry.test/mcp".to_owned(),
            codebase: "http://codebase.test/mcp".to_owned(),
            casebook: "http://casebook.test/mcp".to_owned(),
            llm: "http://llm.test".to_owned(),
        },
        limits: Limits::default(),
    }
}

pub(crate) fn report(summary: &str) -> Value {
    let report: ReportDraft = serde_json::from_value(json!({
        "summary": summary,
        "root_cause": null,
        "impact": { "summary": "Slow.", "failed_share": null, "affected": [], "evidence": [] },
    }))
    .unwrap();
    json!({ "report": report })
}

/// Two turns of calls, the report, the end.
pub(crate) fn ordinary_script() -> Vec<Turn> {
    vec![
        calls(&[("c1", "casebook_read_alert", json!({}))]),
        calls(&[
            (
                "c2",
                "telemetry_query_logs",
                json!({ "service": "checkout" }),
            ),
            ("c3", "codebase_list_commits", json!({})),
            ("c4", "shell", json!({ "command": "wc -l" })),
        ]),
        calls(&[(
            "c5",
            "casebook_submit_report",
            report("It was the database."),
        )]),
        says("Done."),
    ]
}
