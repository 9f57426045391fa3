//! The `verify` command.

use std::path::PathBuf;

use anyhow::bail;
use chrono::NaiveDate;
use clap::Args;
use indicatif::HumanCount;

use crate::cli::options::{self, Partitions, Stores};
use crate::cli::signals::Signals;
use crate::cli::terminal::{MAX_SHOWN, StdoutError, print_json, print_line};
use crate::cli::{DONE, FINDINGS, hint, resolve};
use crate::logs::schema::LogType;
use crate::maintain::verify::{Finding, Report, Verification, WithRejects};
use crate::redact::Redaction;

const AFTER: &str = "\
Exit codes:
  0  no problems were found
  1  problems were found; each finding is printed with its remedy
  3  fatal error: the verification was not completed

Examples:
  alb2parquet verify s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet verify /mnt/logs --out lake --read-data --from 2025-07-01 --to 2025-07-31
  alb2parquet verify --restore --out lake";

/// Maximum number of objects with rejects to print.
const MAX_WORST: usize = 3;

/// Compare a dataset with its source, its claims and its files
///
/// Every object in the source must be in exactly one claim. Every claim must be finished. Every file must exist and
/// contain the number of rows that its claim and its footer state. The directory of a table must contain no other
/// files. The command writes nothing.
///
/// An object is incomplete if it was damaged (for example, truncated_gzip), or if none of its lines became a row. Each
/// incomplete object is a finding (incomplete_object) until you remove its partition and convert it from a good copy,
/// or record with `accept` that no good copy exists.
///
/// --read-data reads the source again with the same decoder as `convert`, so it finds rows that were lost, duplicated or
/// changed after decoding. To find faults of the decoder itself, it also decodes a sample with the reference decoder, a
/// second, slow implementation: the first object of each log, and about one of 100 others. A difference is a finding
/// (decoder_mismatch).
///
/// --restore restores the text of every object from the dataset, and compares its CRC-32 and length with those of the
/// original. This needs neither SOURCE nor the decoder. An object that differs is a finding (not_restorable).
///
/// An object with the same size but a new ETag or time is a finding (touched). With --read-data, its rows are compared
/// instead. `convert` also compares the contents of such objects, and records the unchanged ones.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Verify {
    /// Directories, files, patterns or URLs that the dataset was converted from
    ///
    /// Optional with --restore.
    #[arg(required_unless_present = "restore", value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday [default: yesterday]
    ///
    /// By default, today is excluded, because its logs are still being delivered. Without SOURCE, the default is all
    /// days.
    #[arg(long, value_name = "DAY", value_parser = options::day)]
    pub(super) to: Option<NaiveDate>,

    /// Read the source again, and compare all rows and rejects with the dataset
    ///
    /// If the dataset contains hashed values, this requires their key in ALB2PARQUET_REDACT_KEY.
    #[arg(long)]
    pub(super) read_data: bool,

    /// Restore the text of all objects and compare it with the original checksums
    #[arg(long)]
    pub(super) restore: bool,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

impl Verify {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        if self.read_data && self.sources.is_empty() {
            bail!("--read-data requires SOURCE");
        }
        let network = resolve::network(&self.stores, print_line)?;
        let dataset = resolve::find_dataset(&self.out, &network)?;
        if self.restore {
            resolve::refuse_redacted(&dataset)?;
        }
        let redaction = if self.read_data {
            Some(Redaction::agreed(dataset.redaction(), resolve::redact_key()?.as_deref())?)
        } else {
            None
        };
        let is_with_source = !self.sources.is_empty();
        let last = if is_with_source { resolve::yesterday() } else { None };
        let mut selection = resolve::selection(&self.partitions, self.to.or(last))?;
        let verification = Verification {
            sources: &resolve::open_sources(&self.sources, true, &network, &mut selection)?,
            dataset: &dataset,
            selection: &selection,
            read_data: redaction.as_ref(),
            restore: self.restore,
            reference: &LogType::table,
            stop: signals.stop(),
        };
        let report = verification.run()?;
        self.print(&report);
        if self.json {
            print_json(&report).map_err(StdoutError::finished)?;
        }
        Ok(if report.findings.is_empty() { DONE } else { FINDINGS })
    }

    /// Prints the result of a verification.
    fn print(&self, report: &Report) {
        let Report { objects, claims, files, lines, rows, rejects, compared, .. } = report;
        let has_source = !self.sources.is_empty();
        let (objects, claims) = (HumanCount(*objects), HumanCount(*claims));
        print_line(&if has_source {
            format!("objects     {objects} in {claims} claims")
        } else {
            format!("claims      {claims}; no SOURCE to compare with")
        });
        print_line(&format!("files       {} match their claims", HumanCount(*files)));
        print_line(&format!(
            "lines       {} = {} rows + {} rejects",
            HumanCount(*lines),
            HumanCount(*rows),
            HumanCount(*rejects)
        ));
        if report.compacted_files > 0 {
            let compacted = HumanCount(report.compacted_files);
            print_line(&format!("compacted   {compacted} files match those that they replace"));
        }
        if compared + report.not_compared > 0 {
            print_line(&format!(
                "compared    {} objects row by row; {} not compared, because they changed since the conversion or were not listed",
                HumanCount(*compared),
                HumanCount(report.not_compared)
            ));
            let different =
                report.findings.iter().filter(|finding| finding.kind == "decoder_mismatch").count();
            print_line(&format!(
                "reference   {} objects also decoded by the reference decoder, {} different",
                HumanCount(report.reference_decoded),
                HumanCount(different as u64)
            ));
        }
        if self.restore {
            let (restorable, damaged) = (HumanCount(report.restorable), HumanCount(report.damaged));
            print_line(&format!(
                "restored    {restorable} objects match the originals; {damaged} were damaged when they were converted"
            ));
        }
        if report.touched > 0 {
            let touched = HumanCount(report.touched);
            print_line(&format!(
                "touched     {touched} objects with a new ETag or time, but the same rows"
            ));
        }
        if report.objects_with_rejects > 0 {
            let objects = HumanCount(report.objects_with_rejects);
            print_line(&format!("rejects     in {objects} objects"));
            for WithRejects { object, lines, rejects } in
                report.worst_objects.iter().take(MAX_WORST)
            {
                let (lines, rejects) = (HumanCount(*lines), HumanCount(*rejects));
                print_line(&format!("            {rejects} of {lines} lines of {object}"));
            }
        }
        if report.accepted > 0 {
            let accepted = HumanCount(report.accepted);
            print_line(&format!("accepted    {accepted} incomplete objects; `report` lists them"));
        }
        if report.retired > 0 {
            let retired = HumanCount(report.retired);
            let exist = HumanCount(report.retired_in_source);
            let exist =
                if has_source { format!("; {exist} still exist in SOURCE") } else { String::new() };
            print_line(&format!(
                "retired     {retired} objects; this dataset may hold their only copy{exist}"
            ));
        }
        for finding in report.findings.iter().take(MAX_SHOWN) {
            let Finding { kind, name, problem, remedy } = finding;
            print_line(&format!("{kind}: {name}: {problem}; {}", hint::of_remedy(*remedy)));
        }
        let more = report.findings.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            print_line(&format!("and {more} more findings; --json lists all"));
        }
        let findings = report.findings.len() as u64;
        print_line(&match findings {
            0 => "no problems found".to_owned(),
            1 => "1 finding".to_owned(),
            many => format!("{} findings", HumanCount(many)),
        });
    }
}
