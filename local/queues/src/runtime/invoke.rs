//! One function, for whoever invokes it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Host, InvokeError};

/// One function, wherever it runs.
pub trait Invoke: Send + Sync {
    /// Invokes it with an event and waits for its answer.
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, Result<Bytes, InvokeError>>;
}

/// The function of this name on a host.
impl Invoke for (Host, String) {
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, Result<Bytes, InvokeError>> {
        Box::pin(self.0.invoke(&self.1, event))
    }
}
