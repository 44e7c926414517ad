//! One event is one line of the log, whatever is in it.

use std::io::{self, Write};

use nightshift_controls::{Control, holds};
use tracing_subscriber::fmt::MakeWriter;

/// Writes to standard error, each event as one line.
///
/// Control: `log-lines`. Texts of others stand in events; a line feed or an escape sequence in one must
/// neither begin a line that looks like ours nor do anything to the terminal that shows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OneLine;

/// The writer of one event.
#[derive(Debug)]
pub(crate) struct Line<W>(W);

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = Line<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(io::stderr())
    }
}

impl<W: Write> Write for Line<W> {
    /// The subscriber hands over each event in one piece that ends in a line feed.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, "\n"),
            Some(_) | None => (event, ""),
        };
        let text = String::from_utf8_lossy(line);
        if text.chars().any(char::is_control) && holds(Control::LogLines) {
            let mut escaped = String::with_capacity(text.len() + 16);
            for character in text.chars() {
                if character.is_control() {
                    escaped.extend(character.escape_default());
                } else {
                    escaped.push(character);
                }
            }
            escaped.push_str(end);
            self.0.write_all(escaped.as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `log-lines`.
    #[test]
    fn an_event_with_line_feeds_and_escapes_is_one_plain_line() {
        let mut line = Line(Vec::new());
        line.write_all(b"INFO tool=x\r\nINFO audit ok\x1b[2J \xc2\x9b \xe2\x9c\x93\n")
            .unwrap();
        let written = String::from_utf8(line.0).unwrap();
        assert_eq!(
            written,
            "INFO tool=x\\r\\nINFO audit ok\\u{1b}[2J \\u{9b} ✓\n"
        );
    }
}
