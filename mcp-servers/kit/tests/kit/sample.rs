//! A small server with one tool of each sort.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::DateTime;
use nightshift_domain::{EvidenceKind, InvestigationId, Scope, scope::Audience};
use nightshift_mcp_kit::{
    Caller, LogsRead, MetricsRead, ScopedRouter, ToolError, ToolServer, fit,
    testing::{FakeCasebook, TestServer},
};
use nightshift_protocol::tools::Observed;
use rmcp::{Json, handler::server::wrapper::Parameters, schemars, tool, tool_router};
use serde::{Deserialize, Serialize};

/// A server of nothing in particular.
pub(crate) struct Sample {
    tools: ScopedRouter<Self>,
    casebook: Arc<OnceLock<(Arc<FakeCasebook>, InvestigationId)>>,
}

#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
struct EchoArgs {
    /// What to say again.
    text: String,
}

#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
struct FillArgs {
    lines: usize,
    cut: bool,
}

#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
struct Texts {
    texts: Vec<String>,
}

#[tool_router(vis = "pub(crate)")]
impl Sample {
    /// Says it again.
    #[tool]
    async fn echo(
        &self,
        caller: Caller<LogsRead>,
        Parameters(args): Parameters<EchoArgs>,
    ) -> Result<Json<Observed<Texts>>, ToolError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (casebook, investigation) = self.casebook.get().unwrap();
        match args.text.as_str() {
            "" => return Err(ToolError::new("nothing to echo")),
            "END" => casebook.end(*investigation),
            "DOWN" => casebook.set_down(true),
            _ => {}
        }
        let texts = Texts {
            texts: vec![args.text.clone()],
        };
        caller
            .observe(EvidenceKind::Logs, &args, texts, false)
            .await
    }

    /// Answers with many lines.
    #[tool]
    async fn fill(
        &self,
        caller: Caller<MetricsRead>,
        Parameters(args): Parameters<FillArgs>,
    ) -> Result<Json<Observed<Texts>>, ToolError> {
        let texts = (0..args.lines)
            .map(|line| format!("line number {line}"))
            .collect();
        let (texts, truncated) = if args.cut {
            fit::list(Texts { texts }, |answer| &mut answer.texts)
        } else {
            (Texts { texts }, false)
        };
        caller
            .observe(EvidenceKind::Metrics, &args, texts, truncated)
            .await
    }

    /// Answers without observing anything.
    #[tool]
    async fn note(&self, caller: Caller<LogsRead>) -> Result<Json<Texts>, ToolError> {
        Ok(Json(Texts {
            texts: vec![caller.investigation().to_string()],
        }))
    }
}

impl ToolServer for Sample {
    const AUDIENCE: Audience = Audience::Telemetry;
    const INSTRUCTIONS: &'static str = "A sample.";

    fn tools(&self) -> &ScopedRouter<Self> {
        &self.tools
    }
}

/// The server, and the casebook that it records in.
pub(crate) fn server() -> (TestServer, Arc<FakeCasebook>) {
    let slot = Arc::new(OnceLock::new());
    let scopes = [
        ("echo", Scope::LogsRead),
        ("fill", Scope::MetricsRead),
        ("note", Scope::LogsRead),
    ];
    let sample = Sample {
        tools: ScopedRouter::new(Sample::tool_router(), &scopes).unwrap(),
        casebook: Arc::clone(&slot),
    };
    let (server, casebook) = TestServer::new(sample, DateTime::UNIX_EPOCH, BTreeMap::new());
    slot.set((Arc::clone(&casebook), server.run.investigation))
        .unwrap();
    (server, casebook)
}
