//! Which controls this process does without. Compiled for the attack suite alone.

use std::{io::Write, sync::OnceLock};

use super::{Control, WITHOUT};

static OFF: OnceLock<Vec<Control>> = OnceLock::new();

/// Whether the control holds in this process.
#[must_use]
pub fn holds(control: Control) -> bool {
    !off().contains(&control)
}

/// The controls that do not hold in this process.
#[must_use]
pub fn without() -> Vec<Control> {
    off().to_vec()
}

fn off() -> &'static [Control] {
    OFF.get_or_init(|| {
        let named = std::env::var_os(WITHOUT).unwrap_or_default();
        let off = read(&named.to_string_lossy());
        if !off.is_empty() {
            let listed: Vec<&str> = off.iter().map(|control| control.name()).collect();
            let shout = format!(
                "WEAKENED: this program runs WITHOUT {}. It is for attacks on itself and for nothing else.\n",
                listed.join(", ")
            );
            let _ = std::io::stderr().write_all(shout.as_bytes());
        }
        off
    })
}

/// A name that no control has is no reason to hold or to drop another.
fn read(named: &str) -> Vec<Control> {
    if named == "all" {
        return Control::ALL.to_vec();
    }
    named
        .split(',')
        .filter_map(|name| Control::named(name.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_controls_are_dropped_and_no_others() {
        assert_eq!(read(""), []);
        assert_eq!(
            read("token-audience, nonsense,run-live"),
            [Control::TokenAudience, Control::RunLive]
        );
        assert_eq!(read("all").len(), Control::ALL.len());
    }
}
