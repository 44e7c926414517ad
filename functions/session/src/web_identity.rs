//! The route that gives our own servers tokens for AWS, each for one credential of one run that works.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{TenantId, scope::Audience};
use nightshift_engine::{
    causes,
    lend::{Asked, LendError, lend},
};
use nightshift_lambda::Problem;
use nightshift_protocol::web_identity::{
    LendRequest, Lent, TAGS_CLAIM, WEB_IDENTITY_AUDIENCE, WEB_IDENTITY_SECONDS, WEB_IDENTITY_TYPE,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    SessionState,
    keys::Signing,
    mint::{MintError, sign},
    servers::ServersError,
};

/// Why a server gets no token. For our log: it learns only whether asking again may help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// No server that we know asks.
    #[error("it is no server of ours that asks")]
    Stranger,
    /// The request is not what this route takes.
    #[error("the request is malformed")]
    Malformed(#[from] JsonRejection),
    /// The run or its tenant's connection does not allow it, or could not be looked at.
    #[error(transparent)]
    Lend(#[from] LendError),
    /// The servers' secrets could not be had.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// No token could be signed.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// Proves which server asks, asks the engine whether it may, and signs.
pub(crate) async fn web_identity(
    State(state): State<SessionState>,
    headers: HeaderMap,
    request: Result<Json<LendRequest>, JsonRejection>,
) -> Result<impl IntoResponse, Denied> {
    // Before anything that the request says is looked at.
    let server = asking(&state, &headers).await?;
    let Json(request) = request?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let asked = Asked {
        server,
        investigation: request.investigation,
        epoch: request.epoch,
        credential: &request.credential,
        token: &id,
    };
    let tenant = lend(&state.store, &*state.clock, &asked).await?;
    let now = state.clock.now();
    let keys = state.keys.current().await;
    let token = signed(keys.signing(now), &state.issuer, &asked, tenant, now).await?;
    tracing::info!(
        tenant.id = %tenant,
        investigation.id = %request.investigation,
        server = server.server(),
        credential = request.credential,
        token = id,
        "Lent a credential"
    );
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(Lent { token })))
}

async fn asking(state: &SessionState, headers: &HeaderMap) -> Result<Audience, Denied> {
    let servers = state.servers.as_ref().ok_or(Denied::Stranger)?;
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Denied::Stranger);
    };
    let presented = value
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(Denied::Stranger)?;
    servers.of(presented).await?.ok_or(Denied::Stranger)
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'static str,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: &'a str,
    #[serde(flatten)]
    tags: Value,
}

async fn signed(
    Signing { signer, life }: Signing<'_>,
    issuer: &str,
    asked: &Asked<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> Result<String, MintError> {
    // Never longer than the key's run tokens: so long its key stays published.
    let life = life.min(TimeDelta::seconds(WEB_IDENTITY_SECONDS));
    let claims = Claims {
        iss: issuer,
        aud: WEB_IDENTITY_AUDIENCE,
        sub: format!("mcp:{}", asked.server.server()),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: (now + life).timestamp(),
        jti: asked.token,
        tags: json!({TAGS_CLAIM: {
            "principal_tags": {
                "tenant": [tenant.as_uuid().to_string()],
                "run": [asked.investigation.to_string()],
                "credential": [asked.credential],
            },
            "transitive_tag_keys": ["tenant", "run", "credential"],
        }}),
    };
    sign(signer, WEB_IDENTITY_TYPE, &claims).await
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let error = causes(&self);
        match self {
            Self::Lend(LendError::Store(_)) | Self::Servers(_) | Self::Mint(_) => {
                tracing::error!(error, "Could not answer a server");
                Problem::try_again("ask again in a moment").into_response()
            }
            // One answer for every reason: a server that was taken over learns nothing by trying.
            Self::Stranger
            | Self::Malformed(_)
            | Self::Lend(LendError::NotAtWork | LendError::NotNamed) => {
                tracing::warn!(error, "Refused a web identity");
                Problem::new(
                    StatusCode::FORBIDDEN,
                    "not-lent",
                    "There is no token for this",
                    "a token is for one credential of one run that works",
                )
                .into_response()
            }
        }
    }
}
