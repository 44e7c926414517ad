//! Rows in columns, cut to the page.

use crate::{Paint, Style, WIDTH, clean};

/// A table. The last column takes what is left of the page.
#[derive(Debug)]
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new<const N: usize>(heads: [&'static str; N]) -> Self {
        Self {
            heads: heads.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.rows
            .push(cells.iter().map(|cell| clean(cell)).collect());
    }

    /// The whole as text, every line at most as wide as the page.
    #[must_use]
    pub fn show(&self, paint: Paint) -> String {
        let widths = self.widths();
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let mut lines = vec![paint.paint(Style::Heading, &line(&heads, &widths))];
        lines.extend(self.rows.iter().map(|row| line(row, &widths)));
        lines.push(String::new());
        lines.join("\n")
    }

    fn widths(&self) -> Vec<usize> {
        let column = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.heads.get(place).map_or(0, |head| head.len()))
        };
        let mut widths: Vec<usize> = (0..self.heads.len()).map(column).collect();
        if let Some((last, others)) = widths.split_last_mut() {
            let used: usize = others.iter().map(|width| width + 2).sum();
            *last = (*last).min(WIDTH.saturating_sub(used).max(8));
        }
        widths
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let fits = cell.chars().count() <= *width;
        let shown: String = if fits {
            cell.clone()
        } else {
            cell.chars().take(width - 1).chain(['…']).collect()
        };
        format!("{shown:<width$}")
    });
    let line = padded.collect::<Vec<_>>().join("  ");
    let line: String = line.chars().take(WIDTH).collect();
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_last_cell_is_cut_and_says_so() {
        let mut table = Table::new(["id", "title"]);
        table.row(&["inv_1".to_owned(), "x".repeat(200)]);
        let shown = table.show(Paint::Plain);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(shown.contains('…'));
    }
}
