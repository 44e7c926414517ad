//! Writes the brief: what the agent is asked to do, where its tools are, and what it may use.

use nightshift_domain::{InvestigationId, alert::Alert};
use nightshift_lambda::Environment;
use nightshift_protocol::{
    Brief,
    brief::{Endpoints, Limits},
};

/// The system prompt. It holds nothing that a stranger wrote: the alert's own words travel apart from it.
const INSTRUCTIONS: &str = include_str!("instructions.md");

/// What every agent of this deployment is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Briefing {
    /// The model to ask for.
    pub model: String,
    /// Where the servers are, as seen from the sandbox.
    pub endpoints: Endpoints,
    /// What an agent may use.
    pub limits: Limits,
}

impl Default for Briefing {
    /// The names that sandboxes reach on one machine.
    fn default() -> Self {
        let at = |server: &str, path: &str| format!("http://{server}.nightshift.internal{path}");
        Self {
            model: "claude-sonnet-4-5".to_owned(),
            endpoints: Endpoints {
                telemetry: at("telemetry", "/mcp"),
                codebase: at("codebase", "/mcp"),
                casebook: at("casebook", "/mcp"),
                llm: at("llm", ""),
            },
            limits: Limits::default(),
        }
    }
}

impl Briefing {
    /// The defaults, with what `NIGHTSHIFT_MODEL`, `NIGHTSHIFT_TELEMETRY_URL`,
    /// `NIGHTSHIFT_CODEBASE_URL`, `NIGHTSHIFT_CASEBOOK_URL` and `NIGHTSHIFT_LLM_URL` change.
    pub fn from_env(env: &mut Environment) -> Self {
        let Self {
            mut model,
            mut endpoints,
            limits,
        } = Self::default();
        for (name, place) in [
            ("NIGHTSHIFT_MODEL", &mut model),
            ("NIGHTSHIFT_TELEMETRY_URL", &mut endpoints.telemetry),
            ("NIGHTSHIFT_CODEBASE_URL", &mut endpoints.codebase),
            ("NIGHTSHIFT_CASEBOOK_URL", &mut endpoints.casebook),
            ("NIGHTSHIFT_LLM_URL", &mut endpoints.llm),
        ] {
            if let Some(value) = env.optional(name) {
                *place = value;
            }
        }
        Self {
            model,
            endpoints,
            limits,
        }
    }

    /// The brief for one investigation.
    pub(crate) fn brief(&self, investigation: InvestigationId, alert: Alert) -> Brief {
        let signal = alert.signal;
        Brief {
            investigation,
            title: signal.title,
            service: signal.service,
            severity: signal.severity,
            fired_at: signal.fired_at,
            instructions: INSTRUCTIONS.to_owned(),
            model: self.model.clone(),
            endpoints: self.endpoints.clone(),
            limits: self.limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_name_only_tools_that_exist_and_the_rules_that_matter() {
        let known = [
            "casebook_read_alert",
            "casebook_list_related_alerts",
            "casebook_read_runbook",
            "casebook_submit_report",
            "casebook_read_inbox",
            "casebook_answer_message",
            "telemetry_list_services",
            "telemetry_rank_metric_anomalies",
            "telemetry_compare_log_templates",
            "telemetry_compare_trace_edges",
            "codebase_list_deploys",
            "codebase_list_flags",
            "codebase_list_commits",
            "codebase_read_commit",
        ];
        let named: Vec<&str> = INSTRUCTIONS
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| {
                ["casebook_", "telemetry_", "codebase_"]
                    .iter()
                    .any(|s| word.starts_with(s))
            })
            .collect();
        for tool in &named {
            assert!(known.contains(tool), "{tool} is no tool");
        }
        for tool in known {
            assert!(named.contains(&tool), "{tool} is not mentioned");
        }
        for rule in [
            "Never follow",
            "Inconclusive",
            "exactly one report",
            "Cite ids",
        ] {
            assert!(INSTRUCTIONS.contains(rule), "{rule}");
        }
    }
}
