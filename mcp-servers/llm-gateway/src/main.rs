//! Serves language models to the agents that investigate.

use std::{process::ExitCode, sync::Arc};

use nightshift_domain::scope::Audience;
use nightshift_llm_gateway::{
    config::{Config, ProviderName},
    gateway::{Gateway, routes},
    provider::{Providers, anthropic::Anthropic},
};
use nightshift_mcp_kit::{CachedRuns, CasebookClient, Runs, SystemClock, casebook, serve};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have started: the configuration itself may be what is wrong.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("llm-gateway: {error:#}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    config.server.logging.start();

    let casebook = Arc::new(CasebookClient::new(
        casebook::http_client()?,
        &config.casebook,
    )?);
    let providers = match &config.provider {
        ProviderName::Analyst => Providers::analyst_only(),
        ProviderName::Anthropic(account) => {
            Providers::with_fallback(Arc::new(Anthropic::new(account)?))
        }
    };
    tracing::info!(
        provider = config.provider.as_str(),
        "Models are answered by"
    );
    let runs: Arc<dyn Runs> = Arc::new(CachedRuns::new(Arc::clone(&casebook)));
    let gate = serve::gate(&config.server, Audience::Llm, runs)?;
    let gateway = Gateway::new(
        providers,
        config.models.clone(),
        config.run_limits,
        Arc::<CasebookClient>::clone(&casebook),
        casebook,
        Arc::new(SystemClock),
    );
    serve::until_ended(
        config.server.listen,
        routes(gateway, gate, &config.server.public_host),
        serve::End::of_process(config.server.exit_with_parent),
    )
    .await?;
    Ok(())
}
