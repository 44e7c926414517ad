//! Functions and queues in another stand-in for AWS, reached over its API.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use nightshift_queues::runtime::{Function, FunctionError, Invoke, InvokeError};
use serde_json::{Value, json};

use super::{ACCOUNT, Elsewhere, Functions, REGION, functions, steps};
use crate::up::plane::Parts;

/// How long one call may take: deploying a zip takes longest.
const PATIENCE: Duration = Duration::from_mins(2);
/// Lambda's API.
const LAMBDA: &str = "/2015-03-31";

/// A stand-in with our functions and queues.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    http: reqwest::Client,
    url: String,
    how: Functions,
}

impl Remote {
    /// Creates the queues and deploys the zips.
    pub(super) async fn open(
        parts: Parts<'_>,
        how: &Functions,
        elsewhere: &Elsewhere,
    ) -> Result<Self> {
        let http = crate::api::http()?;
        let remote = Self {
            http,
            url: elsewhere.url.trim_end_matches('/').to_owned(),
            how: how.clone(),
        };
        for spec in steps::all(how)? {
            let kind = if spec.is_fifo {
                json!({"FifoQueue": "true"})
            } else {
                json!({})
            };
            remote
                .put_queue(&spec.dead, &kind, &json!(steps::dead_attributes()))
                .await?;
            let dead_arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", spec.dead);
            remote
                .put_queue(&spec.name, &kind, &json!(spec.attributes(&dead_arn)))
                .await?;
        }
        for function in functions::all(parts, how, &remote.url)? {
            let path = elsewhere.zips.join(format!("{}.zip", function.name));
            let zip = std::fs::read(&path).with_context(|| {
                format!("cannot read {}; `./dev zips` writes it", path.display())
            })?;
            remote.deploy(&function, &zip).await?;
        }
        Ok(remote)
    }

    /// One of the functions.
    pub(super) fn function(&self, name: &str) -> Arc<dyn Invoke> {
        Arc::new(RemoteFunction {
            remote: self.clone(),
            name: name.to_owned(),
        })
    }

    /// Maps each queue to its function.
    pub(super) async fn begin(&self) -> Result<()> {
        for spec in steps::all(&self.how)? {
            let mapping = json!({
                "EventSourceArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", spec.name),
                "FunctionName": spec.function,
                "BatchSize": spec.batch_size,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": spec.concurrency},
                "Enabled": true,
            });
            let path = format!("{LAMBDA}/event-source-mappings");
            self.lambda(Method::POST, &path, &mapping).await?;
        }
        Ok(())
    }

    /// Takes the mappings away: no more steps are carried out.
    pub(super) async fn stop(&self) -> Result<()> {
        let path = format!("{LAMBDA}/event-source-mappings");
        let listed = self.lambda(Method::GET, &path, &Value::Null).await?;
        for mapping in listed["EventSourceMappings"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if let Some(id) = mapping["UUID"].as_str() {
                self.lambda(Method::DELETE, &format!("{path}/{id}"), &Value::Null)
                    .await?;
            }
        }
        Ok(())
    }

    async fn put_queue(&self, name: &str, kind: &Value, attributes: &Value) -> Result<()> {
        let created = self
            .sqs(
                "CreateQueue",
                &json!({"QueueName": name, "Attributes": kind}),
            )
            .await?;
        let request = json!({"QueueUrl": created["QueueUrl"], "Attributes": attributes});
        self.sqs("SetQueueAttributes", &request).await?;
        Ok(())
    }

    async fn deploy(&self, function: &Function, zip: &[u8]) -> Result<()> {
        let variables: serde_json::Map<String, Value> = function
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let request = json!({
            "FunctionName": function.name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/{}", function.name),
            "Code": {"ZipFile": STANDARD.encode(zip)},
            "Timeout": function.timeout.as_secs(),
            "MemorySize": function.memory_mb,
            "Environment": {"Variables": variables},
        });
        self.lambda(Method::POST, &format!("{LAMBDA}/functions"), &request)
            .await?;
        Ok(())
    }

    async fn sqs(&self, action: &str, request: &Value) -> Result<Value> {
        let call = self
            .request(Method::POST, "/", "sqs")
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("AmazonSQS.{action}"))
            .body(request.to_string());
        answer(call, action).await
    }

    async fn lambda(&self, method: Method, path: &str, request: &Value) -> Result<Value> {
        let mut call = self.request(method, path, "lambda");
        if !request.is_null() {
            call = call
                .header("Content-Type", "application/json")
                .body(request.to_string());
        }
        answer(call, path).await
    }

    /// A stand-in does not check signatures, but tells services apart by them.
    fn request(&self, method: Method, path: &str, service: &str) -> reqwest::RequestBuilder {
        let scope = format!("{ACCOUNT}/20260101/{REGION}/{service}/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        self.http
            .request(method, format!("{}{path}", self.url))
            .header("Authorization", authorization)
            .timeout(PATIENCE)
    }
}

async fn answer(call: reqwest::RequestBuilder, what: &str) -> Result<Value> {
    let answer = call
        .send()
        .await
        .with_context(|| format!("{what} was not answered"))?;
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        bail!("{what} was refused with {status}: {text}");
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{what} was answered {text}"))
}

/// One function of a stand-in.
#[derive(Debug)]
struct RemoteFunction {
    remote: Remote,
    name: String,
}

impl Invoke for RemoteFunction {
    fn invoke(&self, event: bytes::Bytes) -> BoxFuture<'_, Result<bytes::Bytes, InvokeError>> {
        Box::pin(async move {
            let path = format!("{LAMBDA}/functions/{}/invocations", self.name);
            let call = self
                .remote
                .request(Method::POST, &path, "lambda")
                .body(event);
            let unreached = |error: reqwest::Error| self.failed("Unreached", &error.to_string());
            let answer = call.send().await.map_err(unreached)?;
            let status = answer.status();
            let error = answer.headers().get("x-amz-function-error").cloned();
            let payload = answer.bytes().await.map_err(unreached)?;
            let said = || String::from_utf8_lossy(&payload).into_owned();
            match (status.as_u16(), error) {
                (429, _) => Err(InvokeError::Throttled(self.name.clone())),
                (200..300, None) => Ok(payload),
                (_, Some(kind)) => Err(self.failed(kind.to_str().unwrap_or_default(), &said())),
                (status, None) => Err(self.failed(&status.to_string(), &said())),
            }
        })
    }
}

impl RemoteFunction {
    fn failed(&self, kind: &str, message: &str) -> InvokeError {
        InvokeError::Failed(FunctionError {
            function: self.name.clone(),
            kind: kind.to_owned(),
            message: message.to_owned(),
            tail: String::new(),
        })
    }
}
