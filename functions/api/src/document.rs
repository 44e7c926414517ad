//! The `OpenAPI` document, generated from the routes and types it describes.

use std::sync::Arc;

use axum::{Extension, Json};
use nightshift_domain::Report;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Spec, RefOr,
        schema::{Ref, Schema},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nightshift",
        description = "What came in, what is being done about it, and what was found. Listings are \
            paged with `limit` and `cursor`, newest first. Every error is an RFC 9457 problem.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "investigations", description = "What agents find out"),
        (name = "intake", description = "What came in"),
        (name = "platform", description = "What it runs on"),
    ),
)]
struct Preamble;

/// The finished document.
#[derive(Debug, Clone)]
pub(crate) struct Document(Arc<Value>);

/// The document without its paths.
pub(crate) fn preamble() -> Spec {
    let mut spec = Preamble::openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = spec.components.get_or_insert_default();
    components
        .security_schemes
        .insert("token".to_owned(), RefOr::T(bearer));
    spec.security = Some(vec![SecurityRequirement::new("token", [] as [&str; 0])]);
    spec
}

/// A reference to the schema of a settled report, which [`Document::of`] puts in its place.
pub(crate) fn report_schema() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("Report"))
}

impl Document {
    /// Finishes the document: the domain's own types describe themselves.
    pub(crate) fn of(spec: &Spec) -> Self {
        let mut document = json!(spec);
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        let mut schemas = settings.into_generator();
        schemas.subschema_for::<Report>();
        for (name, schema) in schemas.take_definitions(true) {
            document["components"]["schemas"][name] = schema;
        }
        Self(Arc::new(document))
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "platform", security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Value)))]
pub(crate) async fn openapi(Extension(document): Extension<Document>) -> Json<Arc<Value>> {
    Json(document.0)
}
