//! The `inspect` command.

mod json;
mod page;
mod rows;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::options::{self, LogType, Stores};
use crate::cli::terminal::{print_json, print_line, print_text, stdout_width};
use crate::cli::{DONE, OBJECTS, REJECTS, resolve};
use crate::decode::inspect::{Inspected, Inspection, Limits};
use crate::logs::key;
use crate::logs::schema::{EXTRA_FIELDS, SOURCE_KEY, Table};
use crate::store::{Place, Source, open_regular};

/// The OBJECT argument for standard input.
const STDIN: &str = "-";
/// The `--columns` value for all columns.
const ALL: &str = "all";
/// Width of the page if stdout is not a terminal.
const DEFAULT_WIDTH: usize = 100;

const AFTER: &str = "\
Exit codes:
  0  every line became a row
  1  some lines were rejected
  2  the object is damaged, is neither gzip nor text, or is not the log that its name promises
  3  fatal error: the object cannot be read

Examples:
  alb2parquet inspect 123456789012_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_192.0.2.1_39xza92o.log.gz
  alb2parquet inspect s3://my-log-bucket/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2025/07/19/NAME.log.gz
  alb2parquet inspect object.log.gz --columns time,client_ip,user_agent --limit 50
  alb2parquet inspect object.log.gz --columns all --limit 1
  zcat *.log.gz | alb2parquet inspect - --log-type access --json | jq .rejects";

/// Show the contents of an object: key, number of lines, first rows and rejects
///
/// For each reject, the output shows the position and marks the fault in the line. The command reads the object in the
/// same way as `convert`, and writes nothing. Control characters are shown as escapes such as \\x1b.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Inspect {
    /// File, URL (s3://, gs://, az://, abfss://, file://), or - for stdin
    #[arg(value_name = "OBJECT")]
    object: String,

    /// Columns to show, separated by commas, or all [default: those that fit]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    columns: Vec<String>,

    /// Maximum number of rows to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    limit: u32,

    /// Maximum number of rejects to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    rejects: u32,

    /// Type of the log [default: detected from the name, or else from the first lines]
    #[arg(long, value_enum, value_name = "TYPE")]
    log_type: Option<LogType>,

    /// Width of the output in characters [default: that of the terminal, or 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(20..))]
    width: Option<u16>,

    #[command(flatten)]
    stores: Stores,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let (key, object) = self.open()?;
        let unreadable = || format!("OBJECT {} cannot be read", self.object);
        let log_type = self.log_type.map(resolve::log_type);
        let inspection = Inspection::begin(&key, object, log_type).with_context(unreadable)?;
        let columns = self.columns(inspection.about.log_type.table())?;
        let limits = Limits { rows: self.limit as usize, rejects: self.rejects as usize };
        let found = inspection.run(limits).with_context(unreadable)?;
        if self.json {
            print_json(&json::of(&self.object, &found, columns.as_deref())?)?;
        } else {
            let width = self.width.map(usize::from).or_else(stdout_width).unwrap_or(DEFAULT_WIDTH);
            print_text(&page::of(&self.object, &found, columns.as_deref(), width)?)?;
        }
        Ok(exit_code(&found))
    }

    /// Opens the object and returns it with its key. For stdin, the key is empty.
    fn open(&self) -> anyhow::Result<(String, Box<dyn Read + Send>)> {
        let name = self.object.as_str();
        if name == STDIN {
            return Ok((String::new(), Box::new(io::stdin())));
        }
        match Place::parse(name)? {
            Place::Local(path) => {
                if path.is_dir() {
                    bail!("OBJECT {name} is a directory: specify a file in it");
                }
                let file = open_regular(&path);
                let file = file.with_context(|| format!("OBJECT {name} cannot be opened"))?;
                Ok((key_of(&path), Box::new(file)))
            }
            Place::Bucket(prefix) if prefix.path.is_root() => {
                bail!(
                    "OBJECT {name} is a bucket, not an object: specify a key, as in s3://bucket/key"
                );
            }
            Place::Bucket(_) => {
                let network = resolve::network(&self.stores, print_line)?;
                // Only the beginning of the object may be needed.
                network.limiter.configure(None, 1);
                let object = Source::read_one(name, &network).context("OBJECT")?;
                let path = name.split_once("://").and_then(|(_, path)| path.split_once('/'));
                Ok((path.map_or(name, |(_, key)| key).to_owned(), object))
            }
        }
    }

    /// Returns the columns that `--columns` selects, or `None` if the flag is not specified.
    fn columns(&self, table: &Table) -> anyhow::Result<Option<Vec<String>>> {
        let names = table.columns().map(|(_, column)| column.name.as_str());
        let names: Vec<&str> = names.chain([EXTRA_FIELDS, SOURCE_KEY]).collect();
        if self.columns.iter().any(|column| column == ALL) {
            return Ok(Some(names.into_iter().map(ToOwned::to_owned).collect()));
        }
        for column in &self.columns {
            if !names.contains(&column.as_str()) {
                let (log_type, nearest) = (table.log_type, options::nearest(column, &names));
                bail!("--columns {column}: the {log_type} log has no such column{nearest}");
            }
        }
        Ok((!self.columns.is_empty()).then(|| self.columns.clone()))
    }
}

/// Returns the key of a local file: the part of the path that starts at AWSLogs, or the file name if the file is not
/// below AWSLogs.
fn key_of(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let whole = whole.to_string_lossy();
    let name = || whole.rsplit('/').next().unwrap_or(&whole);
    key::from_root(&whole).unwrap_or_else(name).to_owned()
}

fn exit_code(found: &Inspected) -> u8 {
    if found.is_damaged || found.foreign.is_some() {
        OBJECTS
    } else if found.counts.rejects > 0 {
        REJECTS
    } else {
        DONE
    }
}
