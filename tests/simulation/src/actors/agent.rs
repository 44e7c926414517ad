//! The agent in a machine that was started: attests, works, reports, answers, and ends with its machine.

use chrono::TimeDelta;
use nightshift_casebook::{CaseError, Cases, RunKey};
use nightshift_domain::report::{Impact, ReportDraft};
use nightshift_engine::attest::{self, Admitted, AttestError};
use nightshift_protocol::attestation::{MachineStatement, STATEMENT_AUDIENCE};
use std::sync::Arc;

use super::Actor;
use crate::{
    cell::{Identity, Wait},
    cloud::Boot,
};

/// Lives in `boot` until it is done, refused or killed.
pub async fn agent(me: Actor, boot: Boot) {
    let until = me.core(|core| core.now + core.rng.millis(50..=3_000));
    me.sleep("agent.boot", until).await;
    if let Some(admitted) = attest(&me, &boot).await {
        if me.core(|core| core.rng.happens(1_000)) {
            insist(&me, &boot).await;
        }
        work(&me, &admitted).await;
    }
    me.note("ends");
    me.core(|core| core.cloud.exit(&boot.machine));
}

async fn attest(me: &Actor, boot: &Boot) -> Option<Admitted> {
    let thumbprint = format!("key-{}-{}", boot.machine, boot.number);
    let clock = me.clock();
    for _ in 0..10 {
        let statement = statement(me, boot);
        let store = &me.platform.store;
        match attest::admit(store, &clock, &statement, &thumbprint).await {
            Ok(admitted) => {
                begin(me, &admitted);
                return Some(admitted);
            }
            Err(AttestError::Store(error)) => {
                me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
                let until = me.core(|core| core.now + TimeDelta::milliseconds(500));
                me.sleep("agent.again", until).await;
            }
            Err(refused) => {
                me.note(&format!("refused: {refused}"));
                return None;
            }
        }
    }
    None
}

/// I4: a start gets its tokens once.
fn begin(me: &Actor, admitted: &Admitted) {
    let grant = admitted.grant;
    me.cell.speak_for(Identity {
        investigation: grant.investigation,
        sandbox: grant.sandbox,
        epoch: grant.epoch,
    });
    me.note(&format!(
        "works for {} at {}",
        grant.investigation, grant.epoch
    ));
    me.core(|core| {
        if !core.admitted.insert((grant.sandbox, grant.epoch)) {
            core.violate(&format!(
                "I4: the start {} of {} got its tokens twice",
                grant.epoch, grant.sandbox
            ));
        }
    });
}

fn statement(me: &Actor, boot: &Boot) -> MachineStatement {
    let (now, number) = me.core(|core| {
        core.statements += 1;
        (core.now.timestamp(), core.statements)
    });
    MachineStatement {
        iss: "https://identity.test".to_owned(),
        aud: STATEMENT_AUDIENCE.to_owned(),
        app_name: boot.app.clone(),
        machine_id: boot.machine.clone(),
        machine_version: "v1".to_owned(),
        image_digest: digest(&boot.image).to_owned(),
        jti: format!("jti-{number}"),
        iat: now,
        nbf: now,
        exp: now + 600,
    }
}

/// The digest in the name of an image.
fn digest(image: &str) -> &str {
    image.rsplit_once('@').map_or("", |(_, digest)| digest)
}

/// Asks for tokens once more, as whoever got hold of the machine's identity would.
async fn insist(me: &Actor, boot: &Boot) {
    let statement = statement(me, boot);
    let clock = me.clock();
    let store = &me.platform.store;
    if let Ok(admitted) = attest::admit(store, &clock, &statement, "another-key").await {
        begin(me, &admitted);
    }
}

async fn work(me: &Actor, admitted: &Admitted) {
    let grant = admitted.grant;
    let run = RunKey {
        tenant: grant.tenant,
        investigation: grant.investigation,
        sandbox: grant.sandbox,
        epoch: grant.epoch,
    };
    let rest_for = me.core(|core| core.scenario.rest_for);
    let cases = Cases::new(me.platform.store.clone(), Arc::new(me.clock()), rest_for);
    let (mut beats, silent) = me.core(|core| {
        let machine = core.faults().machine;
        (core.rng.below(4), core.rng.happens(machine))
    });
    if silent {
        me.park("agent.silent", Wait::Forever).await;
    }
    loop {
        let until = me.core(|core| core.now + core.rng.millis(3_000..=15_000));
        me.sleep("agent.works", until).await;
        match round(me, &cases, run, beats == 0).await {
            Ok(true) => {}
            Ok(false) | Err(CaseError::NotLive) => return,
            Err(error) => me.note(&format!("failed: {}", nightshift_engine::causes(&error))),
        }
        beats = beats.saturating_sub(1);
    }
}

/// One round of an agent's life; tells whether there is another.
async fn round(me: &Actor, cases: &Cases, run: RunKey, last: bool) -> Result<bool, CaseError> {
    if !cases.heartbeat(run).await?.go_on {
        return Ok(false);
    }
    let store = &me.platform.store;
    let reported = store.report_of(run.tenant, run.investigation).await?;
    let questions = cases.inbox(run).await?;
    for question in &questions {
        cases.answer(run, question.message, "Because.").await?;
    }
    if reported.is_some() {
        // Started for questions only.
        return Ok(!questions.is_empty());
    }
    if last {
        cases.submit(run, &draft()).await?;
        me.note("reported");
    }
    Ok(!last)
}

fn draft() -> ReportDraft {
    ReportDraft {
        summary: "Nobody knows.".to_owned(),
        root_cause: None,
        impact: Impact {
            summary: "Somebody waits.".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence: Vec::new(),
        },
        timeline: Vec::new(),
        findings: Vec::new(),
        ruled_out: Vec::new(),
        related_alerts: Vec::new(),
        next_steps: Vec::new(),
    }
}
