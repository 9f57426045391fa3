//! The `retire` command.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::options::{self, Held};
use crate::cli::signals::Signals;
use crate::cli::terminal::{MAX_SHOWN, StdoutError, print_json, print_line};
use crate::cli::{DONE, OBJECTS, hint, resolve};
use crate::dataset::layout::Dataset;
use crate::logs::key::Partition;
use crate::maintain::restore;
use crate::maintain::retire::{
    Action, KeptObjects, Manifest, RetireError, RetiredPartition, Retirement, Summary,
};
use crate::plan::Failure;
use crate::store::{Kind, Place, Source};

const AFTER: &str = "\
Exit codes:
  0  all objects that can be retired were listed, written to the manifest or deleted
  2  some objects or partitions failed; each is listed
  3  fatal error: the dataset is redacted, or the dataset or SOURCE cannot be read or written

Examples:
  alb2parquet retire s3://my-log-bucket --out s3://my-lake/alb --to 90d
  alb2parquet retire s3://my-log-bucket --out s3://my-lake/alb --to 90d --manifest manifest.csv
  alb2parquet retire s3://my-log-bucket --out s3://my-lake/alb --to 90d --proof-age 7d --delete --yes";

/// Delete or list source objects that can be restored from the dataset
///
/// An object can be deleted only if it is in a published claim, if its text was restored from the dataset and has the
/// length and CRC-32 in the claim, and if it still has the size and ETag (on disk: modification time) that it had when
/// it was converted. Without --delete, the command lists the objects and deletes nothing. See docs/retire.md.
///
/// The command records each proof in the dataset. With --proof-age, it uses recorded proofs instead of reading the
/// dataset again.
///
/// --delete --yes records the objects as retired, then deletes them. In S3, an object is deleted only if its ETag is
/// unchanged. If the run is interrupted, run the same command again to finish. Afterwards, the dataset holds the only
/// copy, so `remove` refuses partitions with retired objects.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Retire {
    /// Directories, files, patterns or URLs that the dataset was converted from
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    #[command(flatten)]
    pub(super) held: Held,

    /// Use recorded proofs up to this age, such as 7d [default: prove all again]
    #[arg(long, value_name = "AGE", value_parser = options::age)]
    pub(super) proof_age: Option<Duration>,

    /// Write the objects to a manifest for S3 Batch Operations
    ///
    /// The manifest is a CSV file with the bucket, the key and, if the bucket has versioning, the version ID of each
    /// object. If the job or a lifecycle rule will delete the objects, add --yes to record them as retired.
    #[arg(long, value_name = "FILE", conflicts_with = "delete")]
    pub(super) manifest: Option<PathBuf>,

    /// Delete the objects; requires --yes
    #[arg(long)]
    pub(super) delete: bool,

    /// Confirm --delete, or record the objects in the manifest as retired
    #[arg(long)]
    pub(super) yes: bool,
}

impl Retire {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        if self.yes && !self.delete && self.manifest.is_none() {
            bail!("--yes requires --delete or --manifest");
        }
        let network = resolve::network(&self.held.stores, print_line)?;
        let mut selection = resolve::selection(&self.held.partitions, self.held.to)?;
        resolve::refuse_overlap(
            &self.sources,
            &self.held.out,
            &resolve::place_of(&self.held.out)?,
        )?;
        let dataset = resolve::find_dataset(&self.held.out, &network)?;
        resolve::refuse_redacted(&dataset)?;
        let sources = resolve::open_sources(&self.sources, true, &network, &mut selection)?;
        let manifest = match &self.manifest {
            Some(path) => {
                let bucket = bucket_of(&self.sources, &sources)?;
                Some(Mutex::new(Manifest::create(path, bucket).map_err(RetireError::from)?))
            }
            None => None,
        };
        let action = match &manifest {
            Some(manifest) => Action::Manifest { manifest, record: self.yes },
            None if self.delete && self.yes => Action::Delete,
            None => Action::List,
        };
        let prove = |dataset: &Dataset, partition: &Partition, claim: &_, stop: &_| {
            Ok(restore::prove(dataset, partition, claim, stop)?)
        };
        let retirement = Retirement {
            sources: &sources,
            dataset: &dataset,
            selection: &selection,
            action,
            proof_age: self.proof_age,
            prove: &prove,
            stop: signals.stop(),
        };
        let mut summary = Summary::default();
        let result = retirement.run(&mut summary);
        if let Err(error) = result {
            if summary.recorded > 0 {
                self.print(&summary, None);
            }
            return Err(error.into());
        }
        let has_versions = match manifest {
            Some(manifest) => {
                let manifest = manifest.into_inner().unwrap_or_else(PoisonError::into_inner);
                Some(manifest.finish().map_err(RetireError::from)?)
            }
            None => None,
        };
        self.print(&summary, has_versions);
        if self.held.json {
            print_json(&summary).map_err(StdoutError::finished)?;
        }
        Ok(if summary.failures.is_empty() { DONE } else { OBJECTS })
    }

    /// Prints the result. `has_versions` is `None` if no manifest was written.
    fn print(&self, summary: &Summary, has_versions: Option<bool>) {
        for RetiredPartition { partition, objects, bytes } in
            summary.partitions.iter().take(MAX_SHOWN)
        {
            let (objects, bytes) = (HumanCount(*objects), HumanBytes(*bytes));
            print_line(&format!("{partition}: {objects} objects, {bytes}"));
        }
        let more = summary.partitions.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            print_line(&format!("and {more} more partitions; --json lists all"));
        }
        for Failure { object, error, .. } in summary.failures.iter().take(MAX_SHOWN) {
            print_line(&format!("failed: {object}: {error}"));
        }
        let more = summary.failures.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            print_line(&format!("and {more} more failures; --json lists all"));
        }
        for remedy in hint::of_failures(&summary.failures) {
            print_line(&format!("hint: {remedy}"));
        }
        let counted = |count: u64| HumanCount(count).to_string();
        print_line(&format!(
            "proofs      {} claims proved now, {} by recorded proofs, whose files were not read again",
            counted(summary.claims_proved),
            counted(summary.proofs_used)
        ));
        print_line(&format!(
            "proved      {} objects, {}: can be restored, and are unchanged in SOURCE",
            counted(summary.objects),
            HumanBytes(summary.bytes)
        ));
        for (why, KeptObjects { objects, example }) in &summary.kept {
            let (objects, why) = (counted(*objects), why.why());
            print_line(&format!("kept        {objects} objects, such as {example}: it {why}"));
        }
        if summary.elsewhere > 0 {
            let objects = counted(summary.elsewhere);
            print_line(&format!(
                "elsewhere   {objects} objects of the dataset are not below SOURCE"
            ));
        }
        if summary.deleted_before > 0 {
            let objects = counted(summary.deleted_before);
            print_line(&format!("before      {objects} retired objects no longer exist in SOURCE"));
        }
        if summary.delete_markers > 0 {
            print_line(&format!(
                "versions    delete markers hide {} objects; a lifecycle rule for noncurrent versions frees their \
                 space",
                counted(summary.delete_markers)
            ));
        }
        print_line(&match (has_versions, self.delete && self.yes) {
            (Some(has_versions), _) => {
                let columns = if has_versions { "Bucket, Key, VersionId" } else { "Bucket, Key" };
                let recorded = if self.yes {
                    "; the objects are recorded as retired"
                } else {
                    "; if they will be deleted, --yes records them as retired"
                };
                format!("the manifest has the columns {columns}{recorded}")
            }
            (None, true) => format!("{} objects deleted", counted(summary.deleted)),
            (None, false) if summary.objects == 0 => "no objects to delete".to_owned(),
            (None, false) => {
                "nothing was deleted: specify --delete --yes to delete these objects".to_owned()
            }
        });
    }
}

/// Returns the name of the bucket that contains all sources. An S3 Batch Operations job processes a single bucket.
fn bucket_of<'a>(names: &[String], sources: &'a [Source]) -> anyhow::Result<&'a str> {
    for name in names {
        match Place::parse(name) {
            Ok(Place::Bucket(prefix)) if prefix.kind == Kind::S3 => {}
            _ => bail!("--manifest: {name} is not in S3; use --delete instead"),
        }
    }
    let buckets: Vec<&str> = sources.iter().filter_map(Source::bucket).collect();
    match buckets[..] {
        [first, ref others @ ..] if others.iter().all(|other| *other == first) => {
            if first.starts_with("arn:") {
                bail!("--manifest: specify the bucket instead of the access point {first}");
            }
            Ok(first)
        }
        _ => bail!("--manifest requires that all sources are in the same bucket"),
    }
}
