//! The three ways a listing is printed: a table, rows of JSON data, ids alone.

use anyhow::bail;
use clap::Args;
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
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
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

/// Refuses a format that is none, before anything is asked of the cluster.
///
/// # Errors
/// For anything but `table` and `json`.
pub fn check_format(print: &PrintArgs) -> anyhow::Result<()> {
    match print.format.as_str() {
        "table" | "json" => Ok(()),
        other => bail!("{other:?} is not a format: use table or json"),
    }
}

/// Prints a listing.
pub fn print_list(print: &PrintArgs, head: &[&str], items: Vec<Item>) {
    let mut out = String::new();
    if print.quiet {
        for item in items {
            out.push_str(&item.id);
            out.push('\n');
        }
    } else if print.format == "json" {
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

/// Prints to standard output. A reader that went away (`| head`) is no error.
pub fn say(text: &str) {
    use std::io::Write as _;
    let mut out = anstream::stdout().lock();
    // Nothing can be told to somebody who stopped listening.
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
