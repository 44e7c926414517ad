//! What came back, and never more of it than we are ready to hold.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, StatusCode};
use nightshift_controls::{Control, holds};
use serde::de::DeserializeOwned;

use crate::HttpError;

/// An answer whose body is not read yet.
///
/// Control: `answer-size`. However it is read, it ends at the client's limit.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    limit: usize,
}

impl Answer {
    pub(crate) fn new(response: reqwest::Response, limit: usize) -> Self {
        let limit = if holds(Control::AnswerSize) {
            limit
        } else {
            usize::MAX
        };
        Self { response, limit }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The whole body.
    pub async fn bytes(self) -> Result<Bytes, HttpError> {
        let limit = self.limit;
        // A length that is said and too large needs no reading.
        if self
            .response
            .content_length()
            .is_some_and(|said| usize::try_from(said).is_ok_and(|said| said > limit))
        {
            return Err(HttpError::TooLarge { limit });
        }
        let mut body = BytesMut::new();
        let mut chunks = std::pin::pin!(self.stream());
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
        }
        Ok(body.freeze())
    }

    /// The body as a `T`.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.bytes().await?).map_err(HttpError::NotJson)
    }

    /// The body as it comes. After an error there is nothing more.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, HttpError>> + Send + use<> {
        let limit = self.limit;
        let chunks = Box::pin(self.response.bytes_stream());
        stream::unfold(Some((chunks, 0_usize)), move |state| async move {
            let (mut chunks, taken) = state?;
            match chunks.next().await? {
                Ok(chunk) => {
                    let taken = taken.saturating_add(chunk.len());
                    if taken > limit {
                        return Some((Err(HttpError::TooLarge { limit }), None));
                    }
                    Some((Ok(chunk), Some((chunks, taken))))
                }
                Err(error) => Some((Err(HttpError::no_answer(error)), None)),
            }
        })
    }
}
