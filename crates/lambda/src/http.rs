//! Serves a router behind API Gateway, and answers what no route answers.

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{self, Next},
    response::Response,
};

use crate::{Problem, Publisher, publisher::BESIDE_AN_ANSWER};

/// Answers invocations with `router` until the runtime stops us.
pub async fn serve(router: Router) -> Result<(), lambda_http::Error> {
    lambda_http::run(router).await
}

/// Publishes what a request wrote, after its commit and before its answer: between invocations nothing runs.
/// It takes [`BESIDE_AN_ANSWER`] at most and never changes the answer.
pub fn publishing(router: Router, publisher: Publisher) -> Router {
    router.layer(middleware::from_fn_with_state(publisher, publish_after))
}

async fn publish_after(
    State(publisher): State<Publisher>,
    request: Request,
    next: Next,
) -> Response {
    let writes = !request.method().is_safe();
    let response = next.run(request).await;
    if writes && response.status().is_success() {
        publisher.publish(BESIDE_AN_ANSWER).await;
    }
    response
}

/// Adds `GET /healthz` and [`with_fallbacks`].
pub fn with_manners(router: Router) -> Router {
    with_fallbacks(router.route("/healthz", axum::routing::get(async || "ok")))
}

/// Answers paths and methods that do not exist with problem details.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::not_found(format!("there is no {}", uri.path()))
}

async fn not_this_way(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The method does not exist here",
        format!("{} cannot be used with {method}", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request, http::header, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_stranger_gets_problem_details_and_health_is_plain() {
        let router = with_manners(Router::new().route("/a", get(async || "a")));
        let ask = async |method: Method, path: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(Body::empty())
                .unwrap();
            router.clone().oneshot(request).await.unwrap()
        };

        assert_eq!(ask(Method::GET, "/healthz").await.status(), 200);
        let nowhere = ask(Method::GET, "/b").await;
        assert_eq!(nowhere.status(), 404);
        assert_eq!(
            nowhere.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let posted = ask(Method::POST, "/a").await;
        assert_eq!(posted.status(), 405);
        assert_eq!(
            posted.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }
}
