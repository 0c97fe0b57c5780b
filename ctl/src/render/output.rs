//! The three ways a listing is printed: a table, rows of JSON data, ids alone.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::table::Table;

/// Options every listing has.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Show only what matches KEY=VALUE; several values of one key are alternatives
    #[arg(short = 'f', long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,
    #[command(flatten)]
    /// How to print.
    pub print: PrintArgs,
}

/// How to print.
#[derive(Debug, Clone, Args)]
pub struct PrintArgs {
    /// table, or json: one object a line
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub format: Format,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// For eyes or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns under a head.
    Table,
    /// Data.
    Json,
}

/// One thing in a listing.
#[derive(Debug, Clone)]
pub struct Item {
    /// Printed by `-q`.
    pub id: String,
    /// Cells of the table.
    pub cells: Vec<String>,
    /// The same as data.
    pub data: Value,
}

/// Prints a listing.
pub fn print_list(print: &PrintArgs, head: &[&str], items: Vec<Item>) {
    let mut out = String::new();
    if print.quiet {
        for item in items {
            out.push_str(&item.id);
            out.push('\n');
        }
    } else if print.format == Format::Json {
        for item in items {
            out.push_str(&item.data.to_string());
            out.push('\n');
        }
    } else {
        let mut table = Table::new(head);
        for item in items {
            table.row(item.cells);
        }
        out = table.render();
    }
    say(&out);
}

/// Whether anybody is left to print for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody reads.
    Somebody,
    /// The reader went away, as `head` does.
    Nobody,
}

/// Prints to standard output. A reader that went away is no error, but a reason to stop.
pub fn say(text: &str) -> Heard {
    use std::io::Write as _;
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Heard::Somebody,
        Err(_closed) => Heard::Nobody,
    }
}
