//! Plain columns, as Docker prints them.

use std::cmp::Ordering;

use shoal_proto::time::Timestamp;

/// Rows under a head, padded to the widest cell of each column, three blanks apart.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    /// Adds a row; it has as many cells as the head.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(
            cells.len(),
            self.rows[0].len(),
            "a row has as many cells as the head"
        );
        self.rows.push(cells);
    }

    /// The text, with a line's end after each row.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|r| r[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            out.push_str(cells.join("   ").trim_end());
            out.push('\n');
        }
        out
    }
}

/// How long ago: `3 minutes ago`.
#[must_use]
pub fn since(at: Timestamp) -> String {
    format!("{} ago", ago(crate::clock::now().ms_since(at)))
}

/// How long, in one word and a number: `3 minutes`.
#[must_use]
pub fn ago(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (86_400_000 * 7, "week"),
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    for (unit_ms, name) in UNITS {
        let number = ms / unit_ms;
        if number > 0 {
            let plural = if number == 1 { "" } else { "s" };
            return format!("{number} {name}{plural}");
        }
    }
    "less than a second".to_owned()
}

/// Orders names as people do: `web2` before `web10`.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (parts(a), parts(b));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) if one != other => return one.cmp(&other),
            (Some(_), Some(_)) => {}
        }
    }
}

/// Runs of digits as numbers, without their leading zeros; what lies between them as text.
fn parts(name: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_digit = |c: char| c.is_ascii_digit();
    let same = move |a: &char, b: &char| is_digit(*a) == is_digit(*b);
    let mut rest = name;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|c| !same(&first, &c)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        if is_digit(first) {
            let digits = part.trim_start_matches('0');
            // A longer number is a larger one; a number goes before a text.
            return Some((digits.len(), digits));
        }
        Some((usize::MAX, part))
    })
}

/// Cuts a text at so many characters, with a sign that it was cut.
#[must_use]
pub fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::{Table, ago, cut, natural};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["ID", "NAME"]);
        table.row(vec!["abcdef".to_owned(), "web".to_owned()]);
        assert_eq!(table.render(), "ID       NAME\nabcdef   web\n");
    }

    #[test]
    fn ages_are_told_in_the_largest_whole_unit() {
        for (ms, text) in [
            (0, "less than a second"),
            (1_000, "1 second"),
            (119_000, "1 minute"),
            (7_200_000, "2 hours"),
        ] {
            assert_eq!(ago(ms), text);
        }
    }

    #[test]
    fn names_are_ordered_by_the_numbers_in_them() {
        let mut names = ["web10", "web2", "web", "api", "web2.10", "web2.9", "web007"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["api", "web", "web2", "web2.9", "web2.10", "web007", "web10"]
        );
    }

    #[test]
    fn a_cut_text_shows_that_it_was_cut() {
        assert_eq!(cut("no such image", 8), "no such…");
        assert_eq!(cut("short", 8), "short");
    }
}
