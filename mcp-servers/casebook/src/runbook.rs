//! The runbook for tenants that brought none.

use nightshift_protocol::tools::casebook::Runbook;

/// The method that we recommend.
pub(crate) fn built_in() -> Runbook {
    Runbook {
        name: "default".to_owned(),
        text: include_str!("../runbooks/default.md").to_owned(),
    }
}
