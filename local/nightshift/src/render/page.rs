//! A page that is written from top to bottom.

use nightshift_terminal::{Paint, Style, WIDTH, wrap};

/// Where the value of a field begins.
const VALUE_COLUMN: usize = 14;

/// A page that is written from top to bottom.
pub(super) struct Page {
    paint: Paint,
    lines: Vec<String>,
}

impl Page {
    pub(super) const fn new(paint: Paint) -> Self {
        let lines = Vec::new();
        Self { paint, lines }
    }

    /// A heading after an empty line.
    pub(super) fn heading(&mut self, text: &str) {
        self.lines.push(String::new());
        self.lines.push(self.paint.paint(Style::Heading, text));
    }

    /// Wrapped text.
    pub(super) fn paragraph(&mut self, text: &str, indent: usize) {
        self.lines.extend(wrap(text, indent, WIDTH));
    }

    /// Wrapped text in one style.
    pub(super) fn styled(&mut self, style: Style, text: &str, indent: usize) {
        let lines = wrap(text, indent, WIDTH);
        self.lines
            .extend(lines.iter().map(|line| self.paint.paint(style, line)));
    }

    /// Wrapped text with something in front of its first line.
    pub(super) fn item(&mut self, mark: &str, text: &str, indent: usize) {
        let under = indent + mark.chars().count() + 1;
        let mut lines = wrap(text, under, WIDTH).into_iter();
        let first = lines.next().unwrap_or_default();
        let lead = " ".repeat(indent);
        self.lines
            .push(format!("{lead}{mark} {}", first.trim_start()));
        self.lines.extend(lines);
    }

    /// A name and its value.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        let mark = format!("{name:<width$}", width = VALUE_COLUMN - 3);
        self.item(&mark, value, 2);
    }

    pub(super) fn finish(mut self) -> String {
        self.lines.push(String::new());
        self.lines.join("\n")
    }
}
