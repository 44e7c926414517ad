//! Whom a request says it is for, and where it comes from: a page in somebody's browser must not reach a
//! server by giving the server's address a name of its own.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};
use nightshift_controls::{Control, holds};
use nightshift_http::reach::plain;

/// The names that a machine has for itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The names under which a server may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(BTreeSet<String>);

impl Hosts {
    /// This name, with or without a port, and those of the machine itself.
    #[must_use]
    pub fn named(public_host: &str) -> Self {
        let public = public_host.parse::<Authority>().map_or_else(
            |_| public_host.to_owned(),
            |authority| authority.host().to_owned(),
        );
        let names = LOOPBACK.into_iter().map(str::to_owned);
        Self(names.chain([plain(&public)]).collect())
    }

    /// Only the names of the machine itself.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self(LOOPBACK.into_iter().map(str::to_owned).collect())
    }

    /// Control: `host-check`. One `Host` header, and it names us; a URI that names somebody must agree.
    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !holds(Control::HostCheck) {
            return true;
        }
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some(host) = value
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
        else {
            return false;
        };
        let bare = !host.as_str().contains('@');
        let named = uri
            .authority()
            .is_none_or(|named| plain(named.host()) == plain(host.host()));
        bare && named && self.0.contains(&plain(host.host()))
    }
}

/// Refuses requests under other names than these, and every request that a browser sends from a page.
/// Put it outermost: it costs nothing and needs no token.
pub fn only(router: Router, hosts: Hosts) -> Router {
    router.layer(from_fn_with_state(Arc::new(hosts), check))
}

async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    // Control: `origin-check`. No browser is a client of ours, so any `Origin` is refused.
    let from_a_page = request.headers().contains_key(ORIGIN) && holds(Control::OriginCheck);
    if !from_a_page && hosts.admit(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(
        from_a_page,
        "Refused a request under a name that is not ours, or from a browser"
    );
    let headers = [(CONTENT_TYPE, "application/json")];
    (StatusCode::FORBIDDEN, headers, r#"{"error":"forbidden"}"#).into_response()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(hosts: &Hosts, uri: &str, named: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for name in named {
            headers.append(HOST, HeaderValue::from_str(name).unwrap());
        }
        hosts.admit(&uri.parse().unwrap(), &headers)
    }

    /// `host-check`.
    #[test]
    fn only_its_own_names_and_one_of_them() {
        let hosts = Hosts::named("llm.nightshift.internal:8443");
        for good in [
            "llm.nightshift.internal",
            "LLM.nightshift.internal.:9",
            "localhost:4001",
            "127.0.0.1:4001",
            "[::1]:4001",
        ] {
            assert!(admits(&hosts, "/mcp", &[good]), "{good}");
        }
        for bad in [
            "evil.example",
            "llm.nightshift.internal.evil.example",
            "evil.example:4001",
            "127.0.0.2",
            "127.0.0.1.nip.io",
            "user@localhost",
            "",
            "0.0.0.0:4001",
        ] {
            assert!(!admits(&hosts, "/mcp", &[bad]), "{bad}");
        }
        assert!(!admits(&hosts, "/mcp", &[]));
        assert!(!admits(&hosts, "/mcp", &["localhost", "localhost"]));
        assert!(!admits(&hosts, "http://evil.example/mcp", &["localhost"]));
        assert!(admits(&hosts, "http://localhost:1/mcp", &["localhost"]));
    }
}
