//! Answers invocations by a schedule.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::LocalBoxFuture;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::time::Instant;

/// How long before the end of an invocation its work should end.
const MARGIN: Duration = Duration::from_secs(5);

/// Does `work` at each invocation until the runtime stops us; what the schedule says is of no interest.
/// `work` is told until when it may take.
pub async fn serve<W, F>(work: W) -> Result<(), Error>
where
    W: Fn(Instant) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let work = Arc::new(work);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let work = Arc::clone(&work);
        async move {
            let left = event.context.deadline().duration_since(SystemTime::now());
            let until = Instant::now() + left.unwrap_or_default().saturating_sub(MARGIN);
            // Its type would nest too deep for the compiler otherwise.
            let work: LocalBoxFuture<'_, _> = Box::pin(work(until));
            work.await
        }
    }))
    .await
}
