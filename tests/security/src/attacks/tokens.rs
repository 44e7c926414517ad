//! Forged, borrowed and aged run tokens, presented to the real telemetry server.

use anyhow::Result;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use hmac::{Hmac, Mac};
use nightshift_mcp_kit::testing::{Holder, Issuer, unsigned};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    case::{Case, Outcome, case},
    stack::{Answer, Stack, Upstream, list},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        13,
        "alg-none",
        [TokenSignature],
        "a token without a signature",
        alg_none
    ),
    case!(
        14,
        "alg-hs256",
        [TokenSignature],
        "the public key as an HMAC's secret",
        alg_hs256
    ),
    case!(
        14,
        "alg-rs256",
        [TokenSignature],
        "another algorithm than the key's",
        alg_rs256
    ),
    case!(
        15,
        "key-in-header",
        [KeySet],
        "a token that brings its own key",
        key_in_header
    ),
    case!(
        15,
        "key-by-url",
        [TokenSignature],
        "key ids and URLs that lead to a stranger",
        key_by_url
    ),
    case!(
        16,
        "claims-mistyped",
        [ClaimTypes],
        "an expiry that is no number",
        claims_mistyped
    ),
    case!(
        16,
        "two-audiences",
        [ClaimTypes],
        "our audience among others",
        two_audiences
    ),
    case!(
        16,
        "other-token-type",
        [TokenType],
        "another kind of token of our issuer",
        other_type
    ),
    case!(
        17,
        "other-audience",
        [TokenAudience],
        "each server's token at each other one",
        other_audience
    ),
    case!(
        18,
        "expired",
        [TokenExpiry],
        "a token of yesterday",
        expired
    ),
    case!(
        18,
        "not-yet",
        [TokenNotBefore],
        "a token of tomorrow",
        not_yet
    ),
    case!(
        18,
        "ten-years",
        [TokenLifetime],
        "a token for ten years",
        ten_years
    ),
    case!(
        24,
        "in-the-query",
        [TokenInQuery],
        "a token where logs keep it",
        in_the_query
    ),
    case!(
        31,
        "two-headers",
        [OneToken],
        "two tokens, one for each reader",
        two_headers
    ),
    case!(
        31,
        "bearer",
        [TokenScheme],
        "a bound token as a bearer token",
        bearer
    ),
    case!(
        31,
        "two-keys",
        [OneToken],
        "another token in x-api-key than in Authorization",
        two_keys
    ),
    case!(
        32,
        "oracle",
        [RefusalsAlike],
        "why a token is refused, told apart",
        oracle
    ),
];

/// Presents it with a good proof and asks for the tools.
async fn present(stack: &Stack, token: &str) -> Result<Answer> {
    stack.telemetry.post(token, &list()).await
}

/// Ends with what a forged token got, once an honest one got its due.
async fn judge(stack: &Stack, forged: &[String]) -> Result<Outcome> {
    let honest = stack.token(&stack.telemetry, &stack.ours);
    present(stack, &honest).await?.honest()?;
    let mut said = String::new();
    for token in forged {
        let answer = present(stack, token).await?;
        if answer.worked() {
            return Ok(Outcome::Succeeded(answer.brief()));
        }
        said = answer.brief();
    }
    Ok(Outcome::Stopped(said))
}

fn claims(stack: &Stack) -> Result<Value> {
    Ok(serde_json::to_value(crate::stack::good_claims(
        &stack.telemetry,
        &stack.ours,
    ))?)
}

/// Good claims with these changes, signed as they should be.
async fn changed(changes: &[(&str, Value)]) -> Result<Outcome> {
    let stack = Stack::start().await?;
    let mut claims = claims(&stack)?;
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    let token = stack.issuer.sign_as(&stack.issuer.header(), &claims);
    judge(&stack, &[token]).await
}

async fn alg_none() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let claims = claims(&stack)?;
    let header = |alg: &str| json!({ "alg": alg, "typ": "at+jwt", "kid": stack.issuer.kid });
    let forged = ["none", "None", "NONE", ""];
    let forged = forged.map(|alg| format!("{}.", unsigned(&header(alg), &claims)));
    judge(&stack, &forged).await
}

async fn alg_hs256() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": stack.issuer.kid });
    let message = unsigned(&header, &claims(&stack)?);
    // Whatever form of the public key a confused verifier might use.
    let jwk = serde_json::to_value(&stack.issuer.jwk)?;
    let x = B64.decode(jwk["x"].as_str().unwrap_or_default())?;
    let y = B64.decode(jwk["y"].as_str().unwrap_or_default())?;
    let point = [vec![4], x.clone(), y].concat();
    let mut forged = Vec::new();
    for secret in [jwk.to_string().into_bytes(), point, x, Vec::new()] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret)?;
        mac.update(message.as_bytes());
        forged.push(format!(
            "{message}.{}",
            B64.encode(mac.finalize().into_bytes())
        ));
    }
    judge(&stack, &forged).await
}

async fn alg_rs256() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let claims = claims(&stack)?;
    let forged = ["RS256", "PS256", "ES384", "EdDSA", "HS512"].map(|alg| {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": stack.issuer.kid });
        format!("{}.{}", unsigned(&header, &claims), B64.encode([7; 64]))
    });
    judge(&stack, &forged).await
}

async fn key_in_header() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let stranger = Issuer::new("stranger");
    let claims = claims(&stack)?;
    let forged = [stranger.kid.clone(), stack.issuer.kid.clone()].map(|kid| {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": stranger.jwk });
        stranger.sign_as(&header, &claims)
    });
    judge(&stack, &forged).await
}

async fn key_by_url() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let stranger = Issuer::new("stranger");
    let theirs = Upstream::start().await?;
    let claims = claims(&stack)?;
    let url = format!("{}/jwks.json", theirs.url);
    let kids = ["../../../dev/null", "' or 1=1 --", &url, "stranger"];
    let forged = kids.map(|kid| {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jku": url, "x5u": url });
        stranger.sign_as(&header, &claims)
    });
    let outcome = judge(&stack, &forged).await?;
    if !theirs.seen().is_empty() {
        return Ok(Outcome::Succeeded(
            "a stranger was asked for keys".to_owned(),
        ));
    }
    Ok(outcome)
}

async fn claims_mistyped() -> Result<Outcome> {
    changed(&[("exp", json!("never"))]).await
}

async fn two_audiences() -> Result<Outcome> {
    let both = json!(["urn:nightshift:telemetry", "urn:nightshift:llm"]);
    changed(&[("aud", both)]).await
}

async fn other_type() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let claims = claims(&stack)?;
    let forged = ["JWT", "id_token", "dpop+jwt"].map(|kind| {
        let header = json!({ "alg": "ES256", "typ": kind, "kid": stack.issuer.kid });
        stack.issuer.sign_as(&header, &claims)
    });
    judge(&stack, &forged).await
}

async fn other_audience() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let servers = [&stack.telemetry, &stack.codebase, &stack.casebook];
    let mut refused = 0;
    for to in servers {
        let honest = stack.token(to, &stack.ours);
        to.post(&honest, &list()).await?.honest()?;
        for of in servers.into_iter().chain([&stack.llm]) {
            if of.audience == to.audience {
                continue;
            }
            let answer = to.post(&stack.token(of, &stack.ours), &list()).await?;
            if answer.worked() {
                let what = format!("{} took a token for {}", to.host, of.host);
                return Ok(Outcome::Succeeded(what));
            }
            refused += 1;
        }
    }
    Ok(Outcome::Stopped(format!("{refused} of {refused} refused")))
}

async fn expired() -> Result<Outcome> {
    let now = chrono_now();
    changed(&[
        ("iat", json!(now - 86_400)),
        ("nbf", json!(now - 86_400)),
        ("exp", json!(now - 86_400 + 600)),
    ])
    .await
}

async fn not_yet() -> Result<Outcome> {
    changed(&[("nbf", json!(chrono_now() + 300))]).await
}

async fn ten_years() -> Result<Outcome> {
    changed(&[("exp", json!(chrono_now() + 10 * 31_557_600))]).await
}

fn chrono_now() -> i64 {
    nightshift_mcp_kit::Clock::now(&nightshift_mcp_kit::SystemClock).timestamp()
}

async fn in_the_query() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    present(&stack, &token).await?.honest()?;
    let path = format!("/mcp?access_token={token}");
    let proof = Holder::default().prove("POST", &stack.telemetry.url("/mcp"), &token);
    let request = stack
        .telemetry
        .bare("POST", &path)
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof);
    let answer = crate::stack::send(request.json(&list())).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn two_headers() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    present(&stack, &token).await?.honest()?;
    let other = stack.token(&stack.codebase, &stack.theirs);
    let request = stack
        .telemetry
        .proved("POST", "/mcp", &token)
        .header("authorization", format!("DPoP {other}"));
    let answer = crate::stack::send(request.json(&list())).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn bearer() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    present(&stack, &token).await?.honest()?;
    let proof = Holder::default().prove("POST", &stack.telemetry.url("/mcp"), &token);
    let request = stack
        .telemetry
        .bare("POST", "/mcp")
        .header("authorization", format!("Bearer {token}"))
        .header("dpop", proof);
    let answer = crate::stack::send(request.json(&list())).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn two_keys() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let question = crate::stack::question("hello");
    stack.ask(&stack.ours, &question).await?.honest()?;
    let token = stack.token(&stack.llm, &stack.ours);
    let request = stack
        .llm
        .proved("POST", "/v1/messages", &token)
        .header("x-api-key", &token)
        .header("authorization", "DPoP sk-ant-of-the-attacker");
    // One header says ours, the other says theirs: whoever reads only one of them believes it.
    let answer = crate::stack::send(request.json(&question)).await?;
    Ok(Outcome::of(answer.status.is_success(), answer.brief()))
}

async fn oracle() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let honest = stack.token(&stack.telemetry, &stack.ours);
    present(&stack, &honest).await?.honest()?;
    let claims = claims(&stack)?;
    let stranger = Issuer::new("stranger");
    let mut late = claims.clone();
    late["exp"] = json!(chrono_now() - 60);
    let header = stack.issuer.header();
    let refused = [
        "nonsense".to_owned(),
        stranger.sign_as(&stranger.header(), &claims),
        stranger.sign_as(&header, &claims),
        stack.issuer.sign_as(&header, &late),
        stack.token(&stack.codebase, &stack.ours),
    ];
    let mut said = std::collections::BTreeSet::new();
    for token in refused {
        let answer = present(&stack, &token).await?;
        said.insert((answer.status.as_u16(), answer.text));
    }
    Ok(Outcome::of(
        said.len() > 1,
        format!("{} answers: {said:?}", said.len()),
    ))
}
