//! STS and Secrets Manager on this machine. They check what AWS checks and decide by our own policies.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    iam::{Request, Says, may, says},
    issuer::{NOW, TAGS},
    policies::{ACCOUNT, ISSUER, READER, REGION, deployed},
};

/// A secret in the account.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) text: String,
    pub(crate) tag: Option<String>,
}

/// The account.
#[derive(Clone)]
pub(crate) struct Cloud {
    /// The issuer's keys by their ids: what AWS fetches from the issuer's address.
    keys: Arc<HashMap<String, VerifyingKey>>,
    pub(crate) secrets: Arc<Mutex<BTreeMap<String, Kept>>>,
    sessions: Arc<Mutex<HashMap<String, Session>>>,
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// What Secrets Manager answers instead, once each.
    pub(crate) instead: Arc<Mutex<Vec<(u16, Value)>>>,
}

#[derive(Debug, Clone)]
struct Session {
    secret: String,
    token: String,
    tags: BTreeMap<String, String>,
    policy: Value,
}

impl Cloud {
    pub(crate) fn trusting(keys: HashMap<String, VerifyingKey>) -> Self {
        Self {
            keys: Arc::new(keys),
            secrets: Arc::default(),
            sessions: Arc::default(),
            calls: Arc::default(),
            instead: Arc::default(),
        }
    }

    pub(crate) fn keep(&self, tenant: &str, name: &str, text: &str, tag: Option<&str>) {
        let kept = Kept {
            text: text.to_owned(),
            tag: tag.map(str::to_owned),
        };
        let name = format!("nightshift/prod/t/{tenant}/{name}");
        self.secrets.lock().unwrap().insert(name, kept);
    }

    /// Serves STS and Secrets Manager; tells where.
    pub(crate) async fn serve(&self) -> (Url, Url) {
        let sts = Router::new()
            .route("/", post(assume))
            .with_state(self.clone());
        let manager = Router::new()
            .route("/", post(read))
            .with_state(self.clone());
        (listen(sts).await, listen(manager).await)
    }

    fn call(&self, what: &str) {
        self.calls.lock().unwrap().push(what.to_owned());
    }
}

async fn listen(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url.parse().unwrap()
}

async fn assume(State(cloud): State<Cloud>, headers: HeaderMap, body: Bytes) -> Response {
    cloud.call("AssumeRoleWithWebIdentity");
    match assumed(&cloud, &headers, &body) {
        Ok(given) => given.into_response(),
        Err((status, code)) => {
            let text = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>a token was {}</Message>\
                 </Error></ErrorResponse>",
                String::from_utf8_lossy(&body)
            );
            (status, text).into_response()
        }
    }
}

type Refused = (StatusCode, &'static str);

fn assumed(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Result<String, Refused> {
    let invalid = (StatusCode::BAD_REQUEST, "ValidationError");
    if headers.contains_key("authorization") {
        return Err((StatusCode::BAD_REQUEST, "SignatureDoesNotMatch"));
    }
    if headers
        .get("content-type")
        .is_none_or(|it| it != "application/x-www-form-urlencoded")
    {
        return Err(invalid);
    }
    let form: HashMap<String, String> = form(body);
    let of = |name: &str| form.get(name).map(String::as_str).ok_or(invalid);
    let name = of("RoleSessionName")?;
    let named = (2..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_=,.@-".contains(&byte));
    let seconds: u32 = of("DurationSeconds")?.parse().map_err(|_| invalid)?;
    let policy = of("Policy")?;
    if of("Action")? != "AssumeRoleWithWebIdentity"
        || of("Version")? != "2011-06-15"
        || of("RoleArn")? != format!("arn:aws:iam::{ACCOUNT}:role/{READER}")
        || !named
        || !(900..=3_600).contains(&seconds)
        || !(1..=2_048).contains(&policy.len())
    {
        return Err(invalid);
    }
    let policy = serde_json::from_str(policy);
    let policy: Value = policy.map_err(|_| (StatusCode::BAD_REQUEST, "MalformedPolicyDocument"))?;
    let claims = proved(cloud, of("WebIdentityToken")?)?;
    let tags = tags(&claims).ok_or((StatusCode::BAD_REQUEST, "InvalidIdentityToken"))?;

    let mut request = Request::new("sts:AssumeRoleWithWebIdentity", "")
        .with(
            &format!("{ISSUER}:aud"),
            &[claims["aud"].as_str().unwrap_or_default()],
        )
        .with(
            &format!("{ISSUER}:sub"),
            &[claims["sub"].as_str().unwrap_or_default()],
        );
    for (key, value) in &tags {
        request = request.with(&format!("aws:RequestTag/{key}"), &[value]);
    }
    if !tags.is_empty() {
        let keys: Vec<&str> = tags.keys().map(String::as_str).collect();
        request = request.with("aws:TagKeys", &keys);
    }
    let trust = deployed("tenant-reader-trust.json", "", "");
    let tagging = Request {
        action: "sts:TagSession".to_owned(),
        ..request.clone()
    };
    if says(&trust, &request) != Says::Allow || says(&trust, &tagging) != Says::Allow {
        return Err((StatusCode::FORBIDDEN, "AccessDenied"));
    }
    let number = cloud.sessions.lock().unwrap().len();
    let (id, secret, token) = (
        format!("ASIA{number:016}"),
        format!("secret/key+{number}"),
        format!("session//token+{number}=="),
    );
    let given = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>mcp:telemetry</SubjectFromWebIdentityToken>\
         <Credentials><SessionToken>{token}</SessionToken><SecretAccessKey>{secret}</SecretAccessKey>\
         <Expiration>2026-09-21T14:28:20Z</Expiration><AccessKeyId>{id}</AccessKeyId></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    let session = Session {
        secret,
        token,
        tags,
        policy,
    };
    cloud.sessions.lock().unwrap().insert(id, session);
    Ok(given)
}

/// The claims of a token that our issuer signed, that is valid now, and that is for AWS.
fn proved(cloud: &Cloud, token: &str) -> Result<Value, Refused> {
    let invalid = (StatusCode::BAD_REQUEST, "InvalidIdentityToken");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(invalid);
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid);
    let json = |part: &str| serde_json::from_slice::<Value>(&bytes(part)?).map_err(|_| invalid);
    let header = json(header)?;
    let key = header["kid"].as_str().and_then(|kid| cloud.keys.get(kid));
    let key = key.filter(|_| header["alg"] == "ES256").ok_or(invalid)?;
    let signature = Signature::from_slice(&bytes(signature)?).map_err(|_| invalid)?;
    let message = &token[..token.rfind('.').ok_or(invalid)?];
    key.verify(message.as_bytes(), &signature)
        .map_err(|_| invalid)?;
    let claims = json(claims)?;
    if claims["iss"] != format!("https://{ISSUER}") || claims["aud"] != "sts.amazonaws.com" {
        return Err(invalid);
    }
    let time = |name: &str| claims[name].as_i64().ok_or(invalid);
    if time("exp")? <= NOW {
        return Err((StatusCode::BAD_REQUEST, "ExpiredTokenException"));
    }
    (time("iat")? <= NOW).then_some(claims).ok_or(invalid)
}

/// The session tags: each a list of exactly one text, and the transitive ones among them.
fn tags(claims: &Value) -> Option<BTreeMap<String, String>> {
    let Some(said) = claims.get(TAGS) else {
        return Some(BTreeMap::new());
    };
    let mut tags = BTreeMap::new();
    for (key, values) in said["principal_tags"].as_object()? {
        let [value] = values.as_array()?.as_slice() else {
            return None;
        };
        tags.insert(key.clone(), value.as_str()?.to_owned());
    }
    let transitive = said["transitive_tag_keys"].as_array()?;
    transitive
        .iter()
        .all(|key| key.as_str().is_some_and(|key| tags.contains_key(key)))
        .then_some(tags)
}

async fn read(State(cloud): State<Cloud>, headers: HeaderMap, body: Bytes) -> Response {
    cloud.call("GetSecretValue");
    if let Some((status, answer)) = cloud.instead.lock().unwrap().pop() {
        return (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response();
    }
    match found(&cloud, &headers, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err(kind) => {
            // It says more than it should, so that a test sees where that ends up.
            let words = format!("headers were {headers:?}");
            let answer =
                json!({"__type": format!("com.amazonaws.secretsmanager#{kind}"), "Message": words});
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
    }
}

fn found(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Result<Value, &'static str> {
    let session = signed(cloud, headers, body)?;
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default()
    };
    if header("content-type") != "application/x-amz-json-1.1" {
        return Err("SerializationException");
    }
    let Some(action) = header("x-amz-target").strip_prefix("secretsmanager.") else {
        return Err("UnknownOperationException");
    };
    let asked: Value = serde_json::from_slice(body).map_err(|_| "SerializationException")?;
    let name = asked["SecretId"]
        .as_str()
        .ok_or("InvalidParameterException")?;
    let kept = cloud.secrets.lock().unwrap().get(name).cloned();
    let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-Ab3dE6");
    let mut request = Request::new(&format!("secretsmanager:{action}"), &arn).with(
        "aws:PrincipalArn",
        &[&format!("arn:aws:iam::{ACCOUNT}:role/{READER}")],
    );
    for (key, value) in &session.tags {
        request = request.with(&format!("aws:PrincipalTag/{key}"), &[value]);
    }
    if let Some(stage) = asked["VersionStage"].as_str() {
        request = request.with("secretsmanager:VersionStage", &[stage]);
    }
    if let Some(tag) = kept.as_ref().and_then(|kept| kept.tag.as_deref()) {
        request = request.with("secretsmanager:ResourceTag/tenant", &[tag]);
    }
    let role = deployed("tenant-reader-permissions.json", "", "");
    let owner = kept
        .as_ref()
        .and_then(|kept| kept.tag.clone())
        .unwrap_or_default();
    let resource = deployed("tenant-secret-resource.json", "", &owner);
    // Whether it exists is nobody's business who may not read it.
    if !may(&role, Some(&session.policy), &resource, &request) {
        return Err("AccessDeniedException");
    }
    let kept = kept.ok_or("ResourceNotFoundException")?;
    Ok(
        json!({"ARN": arn, "Name": name, "SecretString": kept.text, "VersionStages": ["AWSCURRENT"]}),
    )
}

/// The session whose signature a request carries, worked out anew from what arrived.
fn signed(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Result<Session, &'static str> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let authorization = header("authorization").ok_or("MissingAuthenticationTokenException")?;
    let rest = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("IncompleteSignatureException")?;
    let parts: HashMap<&str, &str> = rest
        .split(", ")
        .filter_map(|part| part.split_once('='))
        .collect();
    let (id, scope) = parts["Credential"]
        .split_once('/')
        .ok_or("IncompleteSignatureException")?;
    let sessions = cloud.sessions.lock().unwrap();
    let session = sessions
        .get(id)
        .ok_or("UnrecognizedClientException")?
        .clone();
    if header("x-amz-security-token") != Some(session.token.as_str()) {
        return Err("UnrecognizedClientException");
    }
    let date = header("x-amz-date").ok_or("IncompleteSignatureException")?;
    let now = chrono::DateTime::from_timestamp(NOW, 0)
        .unwrap()
        .format("%Y%m%d");
    if scope != format!("{now}/{REGION}/secretsmanager/aws4_request")
        || !date.starts_with(&now.to_string())
    {
        return Err("InvalidSignatureException");
    }
    let names = parts["SignedHeaders"];
    for demanded in [
        "content-type",
        "host",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    ] {
        if !names.split(';').any(|name| name == demanded) {
            return Err("InvalidSignatureException");
        }
    }
    let mut canonical = String::from("POST\n/\n\n");
    for name in names.split(';') {
        let value = header(name).ok_or("InvalidSignatureException")?;
        canonical = format!("{canonical}{name}:{value}\n");
    }
    let canonical = format!("{canonical}\n{names}\n{:x}", Sha256::digest(body));
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{:x}",
        Sha256::digest(&canonical)
    );
    let mut key = format!("AWS4{}", session.secret).into_bytes();
    for part in scope.split('/').chain([text.as_str()]) {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    (parts["Signature"] == hex::encode(key))
        .then_some(session)
        .ok_or("InvalidSignatureException")
}

fn form(body: &[u8]) -> HashMap<String, String> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    // `+` is a space in a form; whoever means a plus must say so.
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let two = |rest: &mut std::str::Bytes<'_>| Some([rest.next()?, rest.next()?]);
            match byte {
                b'%' => {
                    let pair = two(&mut rest).unwrap_or(*b"3f");
                    bytes.extend(hex::decode(pair).unwrap_or_default());
                }
                b'+' => bytes.push(b' '),
                byte => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}
