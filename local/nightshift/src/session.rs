//! A stack to talk to: the one that runs, or else one of our own.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    api::Api,
    checkout::Checkout,
    render::clean,
    say,
    stack_file::StackFile,
    up::{Size, Stack},
};

/// How long the pool may take to fill, and how long where a sandbox is being made: one that is a virtual machine
/// without the processor's help boots for seconds, and twice that beside others.
const POOL_PATIENCE: Duration = Duration::from_mins(1);
const MAKING_PATIENCE: Duration = Duration::from_mins(5);

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

    /// Waits until the pool holds its target of ready sandboxes, for a minute, and for longer where one is still
    /// being made.
    pub async fn wait_for_pool(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let pools = self.api.list("/v1/pool", &[], 50).await?;
            let full = |pool: &Value| count(pool, "ready") >= count(pool, "target_ready");
            if !pools.is_empty() && pools.iter().all(full) {
                return Ok(());
            }
            if is_over(began.elapsed(), &pools) {
                bail!(
                    "the pool was not ready within {} s{}; `nightshift sandboxes list` and \
                     .local/logs/machined.log tell more",
                    began.elapsed().as_secs(),
                    last_failure(&pools)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn count(pool: &Value, name: &str) -> i64 {
    pool[name].as_i64().unwrap_or(0)
}

/// Whether it is no use to wait for these pools any longer.
fn is_over(waited: Duration, pools: &[Value]) -> bool {
    let making = pools.iter().any(|pool| count(pool, "provisioning") > 0);
    let patience = if making {
        MAKING_PATIENCE
    } else {
        POOL_PATIENCE
    };
    waited > patience
}

/// Why the last sandbox could not be made, if one could not.
fn last_failure(pools: &[Value]) -> String {
    let breakers = pools.iter().filter_map(|pool| pool["breakers"].as_array());
    let told = breakers
        .flatten()
        .find_map(|breaker| breaker["last_failure"].as_str());
    told.map(|why| format!(" (the last sandbox: {})", clean(why)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_is_waited_for_longer_while_one_is_being_made_and_its_failure_is_told() {
        let idle = [json!({ "ready": 0, "provisioning": 0, "breakers": [
            { "last_failure": null }, { "last_failure": "exit code 77" }] })];
        let making = [json!({ "ready": 0, "provisioning": 1 })];
        let after = Duration::from_secs;
        assert!(!is_over(after(59), &idle) && is_over(after(61), &idle));
        assert!(!is_over(after(299), &making) && is_over(after(301), &making));
        assert!(is_over(after(61), &[]));
        assert_eq!(last_failure(&idle), " (the last sandbox: exit code 77)");
        assert_eq!(last_failure(&making), "");
    }
}
