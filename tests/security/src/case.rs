//! An attack: its number in the list, what stops it, and how it is tried.

use std::{future::Future, pin::Pin};

use anyhow::Result;
use nightshift_controls::Control;
use serde::{Deserialize, Serialize};

/// An attack under way.
pub(crate) type Trying = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Its row in the list of attacks. Several cases of one row attack differently.
    pub(crate) row: u8,
    /// What it is called.
    pub(crate) name: &'static str,
    /// What the attacker does.
    pub(crate) about: &'static str,
    /// What stops it. Where there are several each does so alone: it succeeds only without all of them.
    pub(crate) controls: &'static [Control],
    /// How it is tried.
    pub(crate) attack: Attack,
}

/// How an attack is tried.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// Here.
    Tried(fn() -> Trying),
    /// Not on one machine, and why.
    NotHere(&'static str),
}

/// How an attack ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "what")]
pub(crate) enum Outcome {
    /// The attacker got nothing; what he got instead.
    Stopped(String),
    /// The attacker got what he wanted.
    Succeeded(String),
    /// It was not tried, and why.
    Skipped(String),
}

impl Outcome {
    /// Stopped unless the attacker has `loot`.
    pub(crate) fn of(got_it: bool, what: impl Into<String>) -> Self {
        if got_it {
            Self::Succeeded(what.into())
        } else {
            Self::Stopped(what.into())
        }
    }

    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "stopped",
            Self::Succeeded(_) => "succeeded",
            Self::Skipped(_) => "skipped",
        }
    }

    pub(crate) fn what(&self) -> &str {
        match self {
            Self::Stopped(what) | Self::Succeeded(what) | Self::Skipped(what) => what,
        }
    }
}

/// A case that is tried by an asynchronous function.
macro_rules! case {
    ($row:literal, $name:literal, [$($control:ident),+], $about:literal, $attack:expr) => {
        $crate::case::Case {
            row: $row,
            name: $name,
            about: $about,
            controls: &[$(nightshift_controls::Control::$control),+],
            attack: $crate::case::Attack::Tried(|| Box::pin($attack())),
        }
    };
}
pub(crate) use case;

/// A case that nobody can try here.
pub(crate) const fn not_here(
    row: u8,
    name: &'static str,
    about: &'static str,
    why: &'static str,
) -> Case {
    Case {
        row,
        name,
        about,
        controls: &[],
        attack: Attack::NotHere(why),
    }
}
