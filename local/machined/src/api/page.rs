//! Long lists in pages: `limit`, `cursor`, and where the next page begins.

use axum::{
    Json,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::refused::Refused;

/// Entries per page unless asked otherwise, and at most.
const LIMIT: usize = 1_000;

/// One page of a list that is sorted by its keys.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    /// Cuts the page that begins after `cursor`.
    pub(crate) fn cut<K: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, Value)>,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> Result<Self, Refused> {
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=LIMIT).contains(&limit) {
            return Err(Refused::invalid(format!(
                "limit must be inside range [1, {LIMIT}]"
            )));
        }
        let mut items = Vec::new();
        let mut last = None;
        let after = |key: &K| cursor.is_none_or(|cursor| key.as_ref() > cursor);
        for (key, item) in entries.into_iter().filter(|(key, _)| after(key)) {
            if items.len() == limit {
                return Ok(Self {
                    items,
                    next_cursor: last,
                });
            }
            items.push(item);
            last = Some(key.as_ref().to_owned());
        }
        Ok(Self {
            items,
            next_cursor: None,
        })
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        if let Some(Ok(next)) = self.next_cursor.map(|next| HeaderValue::from_str(&next)) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("fly-next-cursor"), next);
        }
        response
    }
}
