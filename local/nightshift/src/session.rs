//! A stack to talk to: the one that runs, or else one of our own.

use anyhow::{Result, bail};

use crate::{
    api::Api,
    checkout::Checkout,
    say,
    stack_file::StackFile,
    up::{Size, Stack},
};

/// A stack to talk to.
#[derive(Debug)]
pub struct Session {
    /// Its API.
    pub api: Api,
    /// Where the rest of it is.
    pub file: StackFile,
    own: Option<Stack>,
}

impl Session {
    /// Uses the stack that runs; fails if none does.
    pub async fn running(checkout: &Checkout) -> Result<Self> {
        match Self::find(checkout).await? {
            Some(session) => Ok(session),
            None => bail!("no stack runs in this checkout; `./dev up` starts one"),
        }
    }

    /// Uses the stack that runs, or starts one.
    pub async fn any(checkout: &Checkout, size: Size) -> Result<Self> {
        if let Some(session) = Self::find(checkout).await? {
            say("using the stack that runs already");
            return Ok(session);
        }
        say("starting the stack (logs in .local/logs)");
        let stack = Stack::start(checkout, size).await?;
        let file = stack.file().clone();
        Ok(Self {
            api: Api::of(&file)?,
            file,
            own: Some(stack),
        })
    }

    async fn find(checkout: &Checkout) -> Result<Option<Self>> {
        // A killed stack leaves its file behind, so only an answer counts.
        let Some(file) = StackFile::read(&StackFile::path(checkout)?) else {
            return Ok(None);
        };
        let api = Api::of(&file)?;
        if !api.answers().await {
            return Ok(None);
        }
        Ok(Some(Self {
            api,
            file,
            own: None,
        }))
    }

    /// Whether the stack is our own.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Ends the stack if it is our own.
    pub async fn end(self) -> Result<()> {
        match self.own {
            Some(stack) => stack.end().await,
            None => Ok(()),
        }
    }

    /// Waits until the pool holds its target of ready sandboxes, for a minute at most.
    pub async fn wait_for_pool(&self) -> Result<()> {
        let began = std::time::Instant::now();
        loop {
            let pools = self.api.list("/v1/pool", &[], 50).await?;
            let count = |pool: &serde_json::Value, name: &str| pool[name].as_i64().unwrap_or(0);
            let full =
                |pool: &serde_json::Value| count(pool, "ready") >= count(pool, "target_ready");
            if !pools.is_empty() && pools.iter().all(full) {
                return Ok(());
            }
            if began.elapsed().as_secs() > 60 {
                bail!(
                    "the pool was not ready within a minute; `nightshift sandboxes list` and \
                     .local/logs/machined.log tell more"
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
