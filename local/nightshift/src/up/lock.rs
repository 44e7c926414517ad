//! One stack a checkout: a lock that the kernel lets go of, however its holder ends.

use std::fs::File;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;

/// Held while a stack of this checkout runs.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(checkout: &Checkout) -> Result<Self> {
        let path = checkout.local()?.join("up.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot use {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                std::fs::write(&path, std::process::id().to_string())?;
                Ok(Self { _file: file })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "a stack of this checkout runs already (process {holder}); .local/stack.json \
                     says where. Nothing was changed"
                )
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}
