//! Proofs of possession that are missing, borrowed, replayed or made for something else.

use anyhow::Result;
use http::HeaderValue;
use nightshift_mcp_kit::{
    Clock, SystemClock,
    testing::{Holder, proof_claims},
};
use serde_json::{Value, json};

use crate::{
    case::{Case, Outcome, case},
    stack::{Answer, Stack, list, send},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        20,
        "stolen-token",
        [ProofPresent],
        "a stolen token from another machine",
        stolen_token
    ),
    case!(
        20,
        "stolen-token-own-key",
        [ProofKey],
        "a stolen token with the thief's own proof",
        own_key
    ),
    case!(
        21,
        "proof-forged",
        [ProofSignature],
        "the holder's public key under another signature",
        forged
    ),
    case!(
        21,
        "proof-replayed",
        [ProofOnce],
        "a proof that was seen on the wire",
        replayed
    ),
    case!(
        21,
        "proof-other-method",
        [ProofMethod],
        "a proof for another method",
        other_method
    ),
    case!(
        21,
        "proof-other-url",
        [ProofUrl],
        "a proof for another server",
        other_url
    ),
    case!(
        21,
        "proof-other-token",
        [ProofToken],
        "a proof for another token",
        other_token
    ),
    case!(
        21,
        "proof-stale",
        [ProofAge],
        "a proof of an hour ago",
        stale
    ),
    case!(
        53,
        "guest-clock",
        [ProofAge],
        "a proof for next year, by a guest's own clock",
        next_year
    ),
];

/// Presents our token with this proof.
async fn with(stack: &Stack, token: &str, proof: Option<HeaderValue>) -> Result<Answer> {
    let mut request = stack
        .telemetry
        .bare("POST", "/mcp")
        .header("authorization", format!("DPoP {token}"));
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    send(request.json(&list())).await
}

async fn judge(
    make: impl FnOnce(&Stack, &str, Value) -> Option<HeaderValue> + Send,
) -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    let url = stack.telemetry.url("/mcp");
    let good = Holder::default().prove("POST", &url, &token);
    with(&stack, &token, Some(good)).await?.honest()?;
    let claims = serde_json::to_value(proof_claims("POST", &url, &token))?;
    let proof = make(&stack, &token, claims);
    let answer = with(&stack, &token, proof).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

/// A proof of the holder with one claim changed.
async fn changed(name: &'static str, value: Value) -> Result<Outcome> {
    judge(move |_, _, mut claims| {
        claims[name] = value;
        let holder = Holder::default();
        Some(holder.prove_as(&holder.header(), &claims))
    })
    .await
}

async fn stolen_token() -> Result<Outcome> {
    judge(|_, _, _| None).await
}

async fn own_key() -> Result<Outcome> {
    judge(|stack, token, _| {
        Some(Holder::stranger().prove("POST", &stack.telemetry.url("/mcp"), token))
    })
    .await
}

async fn forged() -> Result<Outcome> {
    judge(|_, _, claims| Some(Holder::stranger().prove_as(&Holder::default().header(), &claims)))
        .await
}

async fn replayed() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    let proof = Holder::default().prove("POST", &stack.telemetry.url("/mcp"), &token);
    with(&stack, &token, Some(proof.clone())).await?.honest()?;
    let answer = with(&stack, &token, Some(proof)).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn other_method() -> Result<Outcome> {
    changed("htm", json!("GET")).await
}

async fn other_url() -> Result<Outcome> {
    changed("htu", json!("http://codebase.nightshift.internal/mcp")).await
}

async fn other_token() -> Result<Outcome> {
    judge(|stack, _, _| {
        let other = stack.token(&stack.telemetry, &stack.theirs);
        Some(Holder::default().prove("POST", &stack.telemetry.url("/mcp"), &other))
    })
    .await
}

async fn stale() -> Result<Outcome> {
    changed("iat", json!(SystemClock.now().timestamp() - 3_600)).await
}

async fn next_year() -> Result<Outcome> {
    changed("iat", json!(SystemClock.now().timestamp() + 31_557_600)).await
}
