//! Reads a request's body without ever holding more than was agreed.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::Problem;

/// How long a sender may take to send one body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body of at most `max_bytes`, counted as they arrive.
pub async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, max_bytes).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(max_bytes)),
        Ok(Err(_)) => Err(Problem::bad_request(
            "the body ended early; nothing was kept",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "The body took too long",
            "nothing was kept; send the body again",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_itself_passes_and_one_byte_more_does_not() {
        let exact = read(Body::from(vec![b'x'; 64]), 64).await.unwrap();
        assert_eq!(exact.len(), 64);

        let over = read(Body::from(vec![b'x'; 65]), 64).await.unwrap_err();
        assert_eq!(over.status, 413);
    }

    #[tokio::test]
    async fn a_stream_without_a_length_is_counted_as_it_arrives() {
        let endless = futures_util::stream::repeat_with(|| {
            Ok::<_, std::convert::Infallible>(Bytes::from_static(b"0123456789"))
        });
        let over = read(Body::from_stream(endless), 1 << 20).await.unwrap_err();
        assert_eq!(over.status, 413);
    }
}
