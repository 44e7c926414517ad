//! Carries the messages of one SQS batch out, and tells the queue which ones to deliver again.

mod backoff;
mod work;

pub use backoff::bring_back;
pub use work::{Message, Order, Work, carry_out};

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use tokio::time::Instant;

use crate::{
    App, Queue,
    metrics::{Metric, milliseconds},
};

/// How long before the end of an invocation what is still under way is given back: time to publish what
/// the others wrote, and to answer for them.
const MARGIN: Duration = Duration::from_secs(3);
/// How long the steps that were written may take to be published.
const PUBLISHING: Duration = Duration::from_secs(2);

/// Answers invocations with batches of `queue` until the runtime stops us.
pub async fn serve(queue: Queue, app: App, work: impl Work + Send + 'static) -> Result<(), Error> {
    let work = Box::new(work);
    let worker = Arc::new(Worker { queue, app, work });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let worker = Arc::clone(&worker);
        async move { worker.answer(event).await }
    }))
    .await
}

struct Worker {
    queue: Queue,
    app: App,
    work: Box<dyn Work + Send>,
}

impl Worker {
    async fn answer(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let until = Instant::now() + left.unwrap_or_default().saturating_sub(MARGIN);
        let messages: Vec<Message> = event
            .payload
            .records
            .into_iter()
            .map(Message::try_from)
            .collect::<Result<_, _>>()?;
        self.measure(&messages);
        let order = if self.queue.is_fifo() {
            Order::Strict
        } else {
            Order::Free
        };
        let again = carry_out(self.queue, order, &messages, until, &*self.work).await;
        tokio::join!(
            self.app.publisher.publish(PUBLISHING),
            backoff::bring_back(&self.app.sqs, self.queue, &messages, &again),
        );
        let mut response = SqsBatchResponse::default();
        response.set_failures(again);
        Ok(response)
    }

    fn measure(&self, messages: &[Message]) {
        let now = self.app.clock.now();
        let ages: Vec<f64> = messages
            .iter()
            .filter_map(|message| Some(milliseconds(now - message.sent_at?)))
            .collect();
        self.app
            .metrics
            .put(Metric::StepAge, ("queue", self.queue.name()), &ages);
    }
}
