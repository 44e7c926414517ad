//! Colours, where there is a terminal to show them.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Text and nothing else.
    Plain,
    /// ANSI colours.
    Ansi,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A heading.
    Heading,
    /// It went well.
    Good,
    /// It went badly.
    Bad,
    /// Less important.
    Dim,
}

impl Paint {
    /// Colours if stdout is a terminal and `NO_COLOR` (<https://no-color.org>) is not set.
    #[must_use]
    pub fn for_stdout() -> Self {
        Self::for_terminal(std::io::stdout().is_terminal())
    }

    /// Colours if stderr is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn for_stderr() -> Self {
        Self::for_terminal(std::io::stderr().is_terminal())
    }

    fn for_terminal(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !refused {
            Self::Ansi
        } else {
            Self::Plain
        }
    }

    /// `text` in a style.
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match (self, style) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Ansi, Style::Heading) => "1",
            (Self::Ansi, Style::Good) => "32",
            (Self::Ansi, Style::Bad) => "31",
            (Self::Ansi, Style::Dim) => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
