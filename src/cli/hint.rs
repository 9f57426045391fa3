//! Hints: what the user can do about an error. No other module knows which flag or command fixes which error.
//!
//! The library's errors describe what failed and why. If an error enum's variants need different hints, the match on it
//! has no wildcard arm, so adding a variant requires a decision about its hint.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io;

use crate::catalog::check::Unreadable;
use crate::catalog::ddl::DdlError;
#[cfg(feature = "iceberg")]
use crate::catalog::iceberg::IcebergError;
#[cfg(not(feature = "iceberg"))]
use crate::cli::iceberg::NotBuilt;
use crate::convert::ConvertError;
use crate::convert::manifest::{BadLine, BatchesError};
use crate::dataset::layout::{DatasetError, FORMAT_VERSIONS};
use crate::maintain::accept::AcceptError;
use crate::maintain::retire::{ManifestError, RetireError};
use crate::plan::inventory::ObjectsError;
use crate::plan::{Failure, PlanError, Remedy};
use crate::redact::RedactError;
use crate::report::ReportError;
use crate::store::{Cause, StoreError, TargetError};

/// What the user can do, as text after `hint: `.
type Hint = Cow<'static, str>;

/// An error in the value of a flag. The message begins with the flag.
#[derive(Debug)]
pub(super) struct OfFlag {
    flag: &'static str,
    error: anyhow::Error,
}

impl OfFlag {
    pub(super) fn new(flag: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self { flag, error: error.into() }
    }
}

impl fmt::Display for OfFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, self.error)
    }
}

impl Error for OfFlag {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Returns the hint for an error, if there is one.
pub(super) fn of(error: &anyhow::Error) -> Option<Hint> {
    if let Some(OfFlag { error, .. }) = error.downcast_ref() {
        return of(error);
    }
    if error.is::<Unreadable>() {
        return Some("`alb2parquet verify` lists damaged and absent files".into());
    }
    error.chain().find_map(of_cause)
}

/// Returns the hint for one error in a chain. Errors inside transparent errors are not part of the chain, so the
/// functions for the outer errors handle them.
fn of_cause(error: &(dyn Error + 'static)) -> Option<Hint> {
    None.or_else(|| error.downcast_ref().and_then(of_plan))
        .or_else(|| error.downcast_ref().and_then(of_conversion))
        .or_else(|| error.downcast_ref().and_then(of_dataset))
        .or_else(|| error.downcast_ref().and_then(of_store))
        .or_else(|| error.downcast_ref().and_then(of_target))
        .or_else(|| error.downcast_ref().and_then(of_objects))
        .or_else(|| error.downcast_ref().and_then(of_batches))
        .or_else(|| error.downcast_ref().and_then(of_redaction))
        .or_else(|| error.downcast_ref().and_then(of_ddl))
        .or_else(|| match error.downcast_ref()? {
            ReportError::Dataset(error) => of_dataset(error),
            ReportError::Interrupted | ReportError::Threads(_) => None,
        })
        .or_else(|| match error.downcast_ref()? {
            AcceptError::Dataset(error) => of_dataset(error),
            AcceptError::Interrupted | AcceptError::Threads(_) => None,
        })
        .or_else(|| error.downcast_ref().and_then(of_retirement))
        .or_else(|| of_publication(error))
        .or_else(|| error.downcast_ref().and_then(of_system))
}

fn of_plan(error: &PlanError) -> Option<Hint> {
    match error {
        PlanError::Source(error) | PlanError::Unlisted(error) => of_store(error),
        PlanError::Dataset(error) => of_dataset(error),
        PlanError::Objects(error) => of_objects(error),
        PlanError::Unfound { error, .. } => of_store(error).or_else(|| {
            error.is_absent().then(|| {
                "list full keys of the bucket, or paths that are absolute, relative to SOURCE, or begin with SOURCE"
                    .into()
            })
        }),
        PlanError::Threads(_) | PlanError::Interrupted => None,
    }
}

fn of_conversion(error: &ConvertError) -> Option<Hint> {
    match error {
        ConvertError::Dataset(error) => of_dataset(error),
        ConvertError::Target(error) => of_target(error),
        ConvertError::Plan(error) => of_plan(error),
        ConvertError::Write { .. }
        | ConvertError::Threads(_)
        | ConvertError::Thread(_)
        | ConvertError::Interrupted => None,
    }
}

fn of_dataset(error: &DatasetError) -> Option<Hint> {
    Some(match error {
        DatasetError::Target(error) => return of_target(error),
        DatasetError::Misplaced(_) => {
            "use the --layout of the dataset's other runs, or another --out".into()
        }
        DatasetError::Version(version) if FORMAT_VERSIONS.iter().all(|own| own < version) => {
            of_remedy(Remedy::Update).into()
        }
        DatasetError::Version(_) => {
            "an older version wrote this dataset; convert its sources to a new one, with another --out".into()
        }
        DatasetError::Layout(layout) => format!("use --layout {layout}, or another --out").into(),
        DatasetError::Redaction(rules) if rules.is_empty() => {
            "omit --redact, or use another --out".into()
        }
        DatasetError::Redaction(rules) => {
            let flags = rules.actions().into_iter().map(|rule| format!("--redact {rule}"));
            format!("use {}, or another --out", flags.collect::<Vec<_>>().join(" ")).into()
        }
        DatasetError::RedactionKey => {
            "set ALB2PARQUET_REDACT_KEY to the dataset's key, or use another --out".into()
        }
        DatasetError::Unconditional(_) => {
            "if no other run writes to this dataset at the same time, use --single-writer".into()
        }
        DatasetError::State { .. }
        | DatasetError::Broken { .. }
        | DatasetError::Newer { .. }
        | DatasetError::Unaccounted { .. } => of_remedy(Remedy::of(error)?).into(),
        DatasetError::Missing(_) | DatasetError::NoThreads(_) | DatasetError::Replaced(_) => {
            return None;
        }
    })
}

fn of_store(error: &StoreError) -> Option<Hint> {
    match error {
        StoreError::Setting(name) => Some(format!("correct or omit --option {name}").into()),
        StoreError::Endpoint { .. } => Some(
            "if a setting is wrong or missing, set it with --option, as in --option region=REGION"
                .into(),
        ),
        error => error.cause().map(of_access),
    }
}

fn of_target(error: &TargetError) -> Option<Hint> {
    error.cause().map(of_access)
}

/// Returns the hint for a file or store that cannot be accessed.
fn of_access(cause: Cause) -> Hint {
    match cause {
        Cause::NoHardLinks => {
            "use a file system with hard links for --out, and check that its files are not immutable".into()
        }
        Cause::Permission => {
            "change its permissions or those of its directory, or run as another user".into()
        }
        Cause::ReadOnly => "mount it read-write, or use another --out".into(),
        Cause::OtherFileSystem => "keep the whole dataset on one file system".into(),
        Cause::Full => "free some space, then run the same command again".into(),
        Cause::Quota => {
            "free some space or raise the quota, then run the same command again".into()
        }
        Cause::FileSize => {
            "raise the limit of the file system or of `ulimit -f`, or lower --target-file-size".into()
        }
        Cause::NotADirectory => "move that file, or use another --out".into(),
        Cause::OpenFiles => {
            "raise the limit with `ulimit -n 1024`, then run the same command again".into()
        }
        Cause::Denied => "check the credentials and their permissions; for S3, `alb2parquet policy convert` prints the \
                          required ones"
            .into(),
        Cause::NoCredentials => {
            "for a public bucket, use --option skip_signature=true".into()
        }
        Cause::Region(region) => {
            format!("use --option region={}", region.as_deref().unwrap_or("REGION")).into()
        }
    }
}

fn of_objects(error: &ObjectsError) -> Option<Hint> {
    match error {
        ObjectsError::Store { source, .. } => of_store(source),
        ObjectsError::Read { .. }
        | ObjectsError::Manifest { .. }
        | ObjectsError::Shape { .. }
        | ObjectsError::Line { .. }
        | ObjectsError::Bucket { .. } => None,
    }
}

fn of_batches(error: &BatchesError) -> Option<Hint> {
    match error {
        BatchesError::Read { source, .. } | BatchesError::Source { source, .. } => of_store(source),
        BatchesError::Line { why: BadLine::Json(_) | BadLine::Secret, .. } => {
            Some("`plan --jsonl` prints batches".into())
        }
        BatchesError::Line { .. } => None,
        BatchesError::Once => Some("with --shard, specify a file or URL for --batches".into()),
    }
}

fn of_redaction(error: &RedactError) -> Option<Hint> {
    match error {
        RedactError::NoKey(_) | RedactError::ShortKey => Some(
            "set ALB2PARQUET_REDACT_KEY, for example to the output of `openssl rand -hex 32`"
                .into(),
        ),
        RedactError::OtherKey => Some("set ALB2PARQUET_REDACT_KEY to the dataset's key".into()),
        RedactError::Form(_)
        | RedactError::Column(_)
        | RedactError::Action { .. }
        | RedactError::Twice(_) => None,
    }
}

fn of_ddl(error: &DdlError) -> Option<Hint> {
    Some(match error {
        DdlError::Unknown => "add --from-dataset".into(),
        DdlError::Injected => {
            "with --compat-view, add --account and --region, --from-dataset, or --no-projection"
                .into()
        }
        DdlError::Compat => "omit --compat-view, or change --log-type or --dialect".into(),
        DdlError::NoCatalog => "omit --partitions".into(),
        DdlError::Place(error) => return of_store(error),
        DdlError::Path { .. }
        | DdlError::NotText
        | DdlError::Invisible(_)
        | DdlError::NotS3(_)
        | DdlError::Name(_)
        | DdlError::Location { .. }
        | DdlError::Value(_) => {
            return None;
        }
    })
}

fn of_retirement(error: &RetireError) -> Option<Hint> {
    Some(match error {
        RetireError::Dataset(error) => return of_dataset(error),
        RetireError::Denied(_) => {
            "for S3, `alb2parquet policy retire` prints the required permissions; then run the same command again".into()
        }
        RetireError::Undeletable { .. } => {
            "omit --delete to list the objects, and delete them with the tools of the store".into()
        }
        RetireError::Manifest(ManifestError::Write { source, .. })
            if source.kind() == io::ErrorKind::AlreadyExists =>
        {
            "delete this file, or specify a different one".into()
        }
        RetireError::Manifest(_)
        | RetireError::Redacted
        | RetireError::Threads(_)
        | RetireError::Interrupted => return None,
    })
}

#[cfg(feature = "iceberg")]
fn of_publication(error: &(dyn Error + 'static)) -> Option<Hint> {
    Some(match error.downcast_ref::<IcebergError>()? {
        IcebergError::Dataset(error) => return of_dataset(error),
        IcebergError::Target(error) => return of_target(error),
        IcebergError::Store(error) => return of_store(error),
        IcebergError::Catalog { is_transient: true, .. } | IcebergError::Conflicts(_) => {
            "run the same command again".into()
        }
        IcebergError::Refused { .. } => {
            "check the credentials and their permissions; see docs/iceberg.md#access-to-a-rest-catalog".into()
        }
        IcebergError::Owner { .. } => {
            "use another --namespace, or drop the table in the catalog without deleting its files".into()
        }
        IcebergError::Changed { .. } => {
            "use --add-missing to add the removed files again; if the other program has written their rows to files of \
             its own, as compaction does, roll the table back first, or queries return these rows twice"
                .into()
        }
        IcebergError::Catalog { .. }
        | IcebergError::Invalid { .. }
        | IcebergError::Absent(_)
        | IcebergError::Differs { .. }
        | IcebergError::Twice(_)
        | IcebergError::Threads(_)
        | IcebergError::Interrupted => return None,
    })
}

#[cfg(not(feature = "iceberg"))]
fn of_publication(error: &(dyn Error + 'static)) -> Option<Hint> {
    let hint = "install the program with `cargo install --path . --features iceberg`";
    error.is::<NotBuilt>().then(|| hint.into())
}

/// Returns the hint to print when the system cannot start a thread or allocate memory.
fn of_system(error: &io::Error) -> Option<Hint> {
    use io::ErrorKind::{OutOfMemory, WouldBlock};
    matches!(error.kind(), WouldBlock | OutOfMemory).then(|| {
        "raise the limits on processes (ulimit -u) and on address space (ulimit -v), or convert with fewer --threads"
            .into()
    })
}

/// Returns the hints for failures, without duplicates.
pub(super) fn of_failures(failures: &[Failure]) -> Vec<&'static str> {
    let remedies: BTreeSet<Remedy> = failures.iter().filter_map(|each| each.remedy).collect();
    remedies.into_iter().map(of_remedy).collect()
}

/// Returns the hint for a remedy.
pub(super) fn of_remedy(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Update => "use a newer version of this program",
        Remedy::Rename => "make this path readable or rename it; nothing is wrong with the dataset",
        Remedy::RestoreName => {
            "restore its original name and a path that matches it, or move it out of SOURCE"
        }
        Remedy::Convert => "run `convert` again",
        Remedy::Publish => {
            "run `convert`, which publishes them; if it cannot, `remove` this partition, then run `convert`"
        }
        Remedy::Remove => "remove the partition with `remove`, then run `convert` again",
        Remedy::RemoveIfInSource => {
            "if the source still contains the objects of the partition, `remove` it, then run `convert` again; if not, keep \
             it: it is the only copy"
        }
        Remedy::Prove => {
            "run `verify --restore`, which lists the damaged files and the objects that cannot be restored"
        }
        Remedy::Compare => {
            "run `convert`, which compares the contents and records unchanged objects, or `verify --read-data`"
        }
        Remedy::Investigate => {
            "investigate who changed it; if in doubt, remove the partition with `remove`"
        }
        Remedy::Move => {
            "move it out of the table's directory: engines read it as part of the table"
        }
        Remedy::Repair => {
            "run `repair`, which rebuilds claims from files; until then, nothing is converted into the partition"
        }
        Remedy::RepairOrMove => {
            "run `repair`, which rebuilds lost claims, or move the file out of the table's directory: engines read it"
        }
        Remedy::Clean => "delete the file with `clean`",
        Remedy::Revert => {
            "revert the compaction with `compact --revert --yes`, which restores the small files in the tables"
        }
        Remedy::ReportBug => {
            "please report this bug of alb2parquet, if possible with the line; until it is fixed, the values may be wrong"
        }
        Remedy::ReplaceOrAccept => {
            "replace the object with a good copy, then `remove` its partition and `convert` again; if no good copy \
             exists, `accept` it"
        }
    }
}
