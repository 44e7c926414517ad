//! The function that the tests deploy: it does what the event says.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use lambda_http::{
    Error, LambdaEvent,
    lambda_runtime::{self, service_fn},
};
use serde_json::{Value, json};

/// Not a test: the function, where the host started this binary as one.
#[test]
fn function() {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    if !variables.contains_key("AWS_LAMBDA_RUNTIME_API") {
        return;
    }
    if variables
        .get("SAMPLE_INIT")
        .is_some_and(|how| how == "exit")
    {
        eprintln!("SAMPLE_INIT says exit");
        std::process::exit(1);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let served = runtime.block_on(async {
        if variables.contains_key("SAMPLE_HTTP") {
            lambda_http::run(super::front::routes()).await
        } else {
            lambda_runtime::run(service_fn(act)).await
        }
    });
    served.unwrap();
}

async fn act(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (asked, context) = event.into_parts();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let pause = Duration::from_millis(asked["ms"].as_u64().unwrap_or_default());
    let me = json!({"pid": std::process::id()});
    let act = text("do");
    match act.as_str() {
        "tell" => {
            let left = context.deadline().duration_since(SystemTime::now())?;
            Ok(json!({
                "pid": std::process::id(),
                "request": context.request_id,
                "arn": context.invoked_function_arn,
                "trace": context.xray_trace_id,
                "left_ms": left.as_millis(),
            }))
        }
        "environment" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        "folder" => Ok(json!(std::env::current_dir()?)),
        "sleep" => {
            tokio::time::sleep(pause).await;
            if let Some(file) = asked["file"].as_str() {
                std::fs::write(file, "done")?;
            }
            Ok(me)
        }
        "leave" => {
            let file = PathBuf::from(text("file"));
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                std::fs::write(file, "left")
            });
            Ok(me)
        }
        "fail" => Err(text("say").into()),
        "exit" => {
            eprintln!("{}", text("say"));
            // What was printed must be read before the end is seen.
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::process::exit(7)
        }
        "abort" => std::process::abort(),
        "large" => Ok(json!("x".repeat(usize::try_from(
            asked["bytes"].as_u64().unwrap_or_default()
        )?))),
        _ => Ok(Value::Null),
    }
}
