//! The provider's affinity cookie: a write is seen by the next read only on the same API node.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use reqwest::header::{HeaderMap, SET_COOKIE};

const COOKIE: &str = "fly_flaps_affinity";
/// Apps remembered at most; forgetting one costs a stale read, never a wrong write.
const APPS_MAX: usize = 10_000;

/// The cookie of each app, for requests to that app.
#[derive(Debug, Default)]
pub(crate) struct Affinity(Mutex<HashMap<String, String>>);

impl Affinity {
    /// What to send as `cookie` with a request about `app`.
    pub(crate) fn cookie(&self, app: &str) -> Option<String> {
        let cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.get(app).map(|value| format!("{COOKIE}={value}"))
    }

    /// Remembers the cookie an answer about `app` carries.
    pub(crate) fn learn(&self, app: &str, headers: &HeaderMap) {
        let value = headers.get_all(SET_COOKIE).iter().find_map(|header| {
            let (name, rest) = header.to_str().ok()?.split_once('=')?;
            (name.trim() == COOKIE).then(|| rest.split(';').next().unwrap_or_default().to_owned())
        });
        let Some(value) = value else { return };
        let mut cookies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cookies.len() >= APPS_MAX && !cookies.contains_key(app) {
            cookies.clear();
        }
        cookies.insert(app.to_owned(), value);
    }

    /// Forgets a deleted app.
    pub(crate) fn forget(&self, app: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_affinity_cookie_is_kept_and_only_for_its_app() {
        let affinity = Affinity::default();
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "session=secret; Path=/".parse().unwrap());
        headers.append(
            SET_COOKIE,
            "fly_flaps_affinity=n7; Path=/v1/apps/a".parse().unwrap(),
        );
        affinity.learn("a", &headers);
        assert_eq!(
            affinity.cookie("a").as_deref(),
            Some("fly_flaps_affinity=n7")
        );
        assert_eq!(affinity.cookie("b"), None);
        affinity.forget("a");
        assert_eq!(affinity.cookie("a"), None);
    }
}
