//! A failure that the agent can read and act on.

use rmcp::model::{ContentBlock, IntoContents};

use crate::secrets;

/// The tool ran and failed. The agent sees the text, so it must help the agent to choose its next
/// call, and it must never carry a credential or another tenant's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(String);

impl ToolError {
    /// Tells the agent what went wrong, in words made for it.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(secrets::scrub_text(text.as_ref()).0)
    }

    /// Tells the agent the failure's own words. Only for errors whose words are made for it.
    #[must_use]
    pub fn failed(cause: &dyn std::error::Error) -> Self {
        Self::new(cause.to_string())
    }
}

impl IntoContents for ToolError {
    fn into_contents(self) -> Vec<ContentBlock> {
        vec![ContentBlock::text(self.0)]
    }
}
