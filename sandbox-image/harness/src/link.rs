//! A connection to one MCP server.

use std::{path::Path, time::Duration};

use rmcp::{
    RoleClient, ServiceError,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, JsonObject, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RunningService},
    transport::{
        StreamableHttpClientTransport, UnixSocketHttpClient,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// The server could not be reached, or does not speak our protocol.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No handshake.
    #[error("no handshake")]
    Handshake(#[from] Box<ClientInitializeError>),
    /// No list of tools.
    #[error("no list of tools")]
    List(#[from] ServiceError),
    /// It took too long.
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
}

/// A call that gave no answer of the tool's.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server says why it did not call the tool.
    #[error("{0}")]
    Refused(String),
    /// The connection does not work; another one may.
    #[error("the server could not be reached: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
}

/// A connection whose tools are known.
#[derive(Debug)]
pub struct Link {
    service: RunningService<RoleClient, ()>,
    tools: Vec<rmcp::model::Tool>,
}

impl Link {
    /// Connects and asks for the tools: two round trips with a server of today's protocol, which
    /// has no handshake to repeat; three with an older one.
    pub async fn connect(socket: &Path, url: &str) -> Result<Self, ConnectError> {
        let connecting = async {
            let modern = ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            };
            let service = match ().serve_with_lifecycle(transport(socket, url), modern).await {
                Ok(service) => service,
                Err(ClientInitializeError::JsonRpcError(_)) => {
                    let legacy = ClientLifecycleMode::Initialize;
                    ().serve_with_lifecycle(transport(socket, url), legacy)
                        .await
                        .map_err(Box::new)?
                }
                Err(error) => return Err(ConnectError::Handshake(Box::new(error))),
            };
            let tools = service.list_all_tools().await?;
            Ok(Self { service, tools })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| ConnectError::TimedOut)?
    }

    /// What the server offers.
    #[must_use]
    pub fn tools(&self) -> &[rmcp::model::Tool] {
        &self.tools
    }

    /// Calls a tool once.
    pub async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<CallToolResult, CallError> {
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.service.peer().call_tool_once(call))
            .await
            .map_err(|_| CallError::TimedOut)?;
        match answer {
            Ok(CallToolResponse::Complete(result)) => Ok(result),
            Ok(_) => Err(CallError::Refused(
                "the tool wants something we do not do".to_owned(),
            )),
            Err(ServiceError::McpError(error)) => {
                Err(CallError::Refused(error.message.into_owned()))
            }
            Err(error) => Err(CallError::Broken(error.to_string())),
        }
    }
}

fn transport(socket: &Path, url: &str) -> StreamableHttpClientTransport<UnixSocketHttpClient> {
    let client = UnixSocketHttpClient::new(&socket.to_string_lossy(), url);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    StreamableHttpClientTransport::with_client(client, config)
}
