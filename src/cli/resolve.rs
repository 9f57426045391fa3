//! From what the user typed to what a run needs. Every refusal happens here, before any work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use chrono::{Days, NaiveDate, Utc};

use crate::cli::args::{Codec, Convert, Layout, Partitions};
use crate::dataset::{self, Dataset, Opening, STAGING};
use crate::encode::Compression;
use crate::hash;
use crate::plan::Selection;
use crate::store::{self, Disk, Patience, Source};

/// A run that may begin.
pub(super) struct Run {
    pub(super) sources: Vec<Source>,
    pub(super) dataset: Dataset,
    pub(super) selection: Selection,
    pub(super) target_size: u64,
    pub(super) compression: Compression,
    pub(super) threads: usize,
    pub(super) max_rejects: f64,
}

impl Run {
    pub(super) fn resolve(args: &Convert) -> anyhow::Result<Self> {
        let mut selection = selection(&args.partitions, args.to.or_else(yesterday))?;
        selection.balancers.clone_from(&args.balancer);
        let sources = open_sources(&args.sources)?;
        let out = out_directory(&args.out)?;
        refuse_overlap(&args.sources, &out)?;
        let layout = match args.layout {
            Layout::Hive => dataset::Layout::Hive,
            Layout::Plain => dataset::Layout::Plain,
        };
        let run = random_name()?;
        let target = Arc::new(Disk::new(out, STAGING, &run));
        let (single_writer, patience) = (args.single_writer, Patience::default());
        let dataset = Dataset::open(target, Opening { layout, run, single_writer, patience })?;
        Ok(Self {
            sources,
            dataset,
            selection,
            target_size: args.target_file_size,
            compression: match args.compression {
                Codec::Zstd => Compression::Zstd,
                Codec::Snappy => Compression::Snappy,
                Codec::None => Compression::None,
            },
            threads: match args.threads {
                Some(threads) => threads.into(),
                None => thread::available_parallelism().map_or(1, usize::from),
            },
            max_rejects: args.max_rejects,
        })
    }
}

/// Opens a dataset that is there.
pub(super) fn find_dataset(out: &Path) -> anyhow::Result<Dataset> {
    let run = random_name()?;
    let target = Arc::new(Disk::new(out_directory(out)?, STAGING, &run));
    Ok(Dataset::find(target, run)?)
}

/// Opens the sources, in the order in which they are named.
pub(super) fn open_sources(names: &[String]) -> anyhow::Result<Vec<Source>> {
    Ok(names.iter().map(|name| Source::open(name)).collect::<Result<Vec<_>, _>>()?)
}

/// Returns the selection of some partitions up to a day.
pub(super) fn selection(
    partitions: &Partitions,
    to: Option<NaiveDate>,
) -> anyhow::Result<Selection> {
    let Partitions { from, account, region } = partitions;
    if let (Some(from), Some(to)) = (from, to)
        && *from > to
    {
        bail!("--from {from} is after --to {to}: no day lies between them");
    }
    let (accounts, regions) = (account.clone(), region.clone());
    Ok(Selection { from: *from, to, accounts, regions, balancers: Vec::new() })
}

/// Returns the last day that does not grow any more.
pub(super) fn yesterday() -> Option<NaiveDate> {
    Utc::now().date_naive().checked_sub_days(Days::new(1))
}

fn random_name() -> anyhow::Result<String> {
    hash::random_name().context("no random name can be made for this run")
}

fn out_directory(out: &Path) -> anyhow::Result<PathBuf> {
    let name = out.to_str().unwrap_or_default();
    let path = if name.is_empty() { Some(out.to_owned()) } else { store::local_path(name) };
    let path = path.with_context(|| {
        format!("--out {name}: only local directories can be written by this version")
    })?;
    std::path::absolute(&path).with_context(|| format!("--out {name} cannot be a path"))
}

/// Refuses a dataset within a source, or the reverse: each run would read what the last one wrote.
fn refuse_overlap(sources: &[String], out: &Path) -> anyhow::Result<()> {
    let absolute = |path: &Path| {
        let known =
            path.ancestors().find_map(|known| known.canonicalize().ok().map(|c| (known, c)));
        match known {
            Some((known, canonical)) => canonical.join(path.strip_prefix(known).unwrap_or(path)),
            None => path.to_owned(),
        }
    };
    let out = absolute(&std::path::absolute(out)?);
    for name in sources {
        let Some(source) = store::local_path(name) else {
            continue;
        };
        let source = absolute(&std::path::absolute(source)?);
        if out.starts_with(&source) {
            bail!("--out {} lies in SOURCE {name}: choose one outside", out.display());
        }
        if source.starts_with(&out) {
            bail!("SOURCE {name} lies in --out {}: choose another --out", out.display());
        }
    }
    Ok(())
}
