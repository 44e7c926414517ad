//! What the command line says.

use std::io::Write;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use nightshift_controls::{Control, has_switches};

use crate::{attacks, case::Case};

/// Tries every attack of the list that one machine can try.
#[derive(Debug, Parser)]
#[command(name = "attack")]
pub(crate) struct Arguments {
    /// Do without this control, or `all`: each attack without the controls that stop it.
    #[arg(long, value_name = "CONTROL|all")]
    without: Vec<String>,
    /// Every attack whose controls are off must succeed.
    #[arg(long)]
    pub(crate) expect_success: bool,
    /// Only the attacks of this number in the list, or of this name.
    #[arg(long, value_name = "N|NAME")]
    only: Vec<String>,
    /// Only this share of them: every K-th.
    #[arg(long, value_name = "K", default_value_t = 1)]
    every: usize,
    /// Say which there are, and what stops each.
    #[arg(long)]
    pub(crate) list: bool,
    /// Say it in JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Try this one in this process.
    #[arg(long, hide = true)]
    pub(crate) one: Option<String>,
}

/// Which controls an attack has to do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Without {
    /// None: every control holds.
    None,
    /// These, for every attack.
    These(Vec<Control>),
    /// Those that stop it, for each attack.
    ItsOwn,
}

impl Without {
    /// The controls that are off while this case is tried.
    pub(crate) fn for_case(&self, case: &Case) -> Vec<Control> {
        match self {
            Self::None => Vec::new(),
            Self::These(these) => these.clone(),
            Self::ItsOwn => case.controls.to_vec(),
        }
    }
}

impl Arguments {
    /// The cases that were asked for.
    pub(crate) fn chosen(&self) -> Result<Vec<Case>> {
        let all = attacks::all();
        for only in &self.only {
            let known = all.iter().any(|case| is(case, only));
            ensure!(known, "there is no attack {only}; --list names them");
        }
        let wanted =
            |case: &Case| self.only.is_empty() || self.only.iter().any(|only| is(case, only));
        let step = self.every.max(1);
        Ok(all.into_iter().filter(wanted).step_by(step).collect())
    }

    /// What is to be switched off.
    pub(crate) fn switched_off(&self) -> Result<Without> {
        if self.without.is_empty() {
            ensure!(
                !self.expect_success,
                "--expect-success needs --without: with every control an attack must not succeed"
            );
            return Ok(Without::None);
        }
        ensure!(
            has_switches(),
            "this build has no switches: every control holds, whatever it is told"
        );
        if self.without.iter().any(|name| name == "all") {
            return Ok(Without::ItsOwn);
        }
        let mut these = Vec::new();
        for name in &self.without {
            match Control::named(name) {
                Some(control) => these.push(control),
                None => bail!("there is no control {name}; --list names them"),
            }
        }
        Ok(Without::These(these))
    }
}

fn is(case: &Case, only: &str) -> bool {
    case.name == only || case.row.to_string() == only
}

/// Says it on standard output.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says it on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
