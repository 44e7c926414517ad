//! The route that gives a run that goes on fresh tokens.

use axum::{Json, extract::State, extract::rejection::JsonRejection};
use nightshift_engine::attest::renew;
use nightshift_protocol::attestation::{RefreshAnswer, RefreshRequest};

use crate::{SessionState, attest::check_thumbprint, mint::mint, refusal::Refusal};

/// Verifies a new statement and, while that start is the one that works, answers with new tokens.
pub(crate) async fn refresh(
    State(state): State<SessionState>,
    request: Result<Json<RefreshRequest>, JsonRejection>,
) -> Result<Json<RefreshAnswer>, Refusal> {
    let Json(RefreshRequest {
        statement,
        key_thumbprint,
        epoch,
    }) = request?;
    check_thumbprint(&key_thumbprint)?;
    let statement = state.verifier.verify(&statement, state.clock.now()).await?;
    let grant = renew(&state.store, &statement, &key_thumbprint, epoch).await?;
    let now = state.clock.now();
    let keys = state.keys.current().await;
    let signing = keys.signing(now);
    let tokens = mint(signing, &state.issuer, &grant, &key_thumbprint, now).await?;
    tracing::debug!(investigation.id = %grant.investigation, epoch = %epoch, "Renewed a run's tokens");
    Ok(Json(RefreshAnswer { tokens }))
}
