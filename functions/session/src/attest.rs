//! The route that gives a machine its brief and its first tokens, once per start.

use axum::{Json, extract::State, extract::rejection::JsonRejection};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nightshift_engine::attest::{Admitted, admit};
use nightshift_protocol::attestation::{AttestAnswer, AttestRequest};

use crate::{SessionState, mint::mint, refusal::Refusal};

/// Verifies the statement, admits the machine, and answers with the brief and one token per server.
pub(crate) async fn attest(
    State(state): State<SessionState>,
    request: Result<Json<AttestRequest>, JsonRejection>,
) -> Result<Json<AttestAnswer>, Refusal> {
    let Json(AttestRequest {
        statement,
        key_thumbprint,
    }) = request?;
    check_thumbprint(&key_thumbprint)?;
    let statement = state.verifier.verify(&statement, state.clock.now()).await?;
    let Admitted { grant, alert } =
        admit(&state.store, &*state.clock, &statement, &key_thumbprint).await?;
    let now = state.clock.now();
    let keys = state.keys.current().await;
    let signing = keys.signing(now);
    let tokens = mint(signing, &state.issuer, &grant, &key_thumbprint, now).await?;
    tracing::info!(
        tenant.id = %grant.tenant,
        investigation.id = %grant.investigation,
        sandbox.id = %grant.sandbox,
        epoch = %grant.epoch,
        "Briefed a sandbox"
    );
    let brief = state.briefing.brief(grant.investigation, alert);
    Ok(Json(AttestAnswer {
        brief,
        epoch: grant.epoch,
        tokens,
    }))
}

/// A SHA-256 thumbprint in base64url, as RFC 7638 spells it.
pub(crate) fn check_thumbprint(text: &str) -> Result<(), Refusal> {
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(digest) if digest.len() == 32 => Ok(()),
        _ => Err(Refusal::Malformed(
            "key_thumbprint is no RFC 7638 SHA-256 thumbprint".to_owned(),
        )),
    }
}
