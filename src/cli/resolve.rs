//! From what the user typed to what a run needs. Every refusal happens here, before any work.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use chrono::{Days, NaiveDate, Utc};

use crate::cli::args::{Codec, Convert, Layout, LogType, Partitions, Stores};
use crate::dataset::{self, Dataset, Opening, STAGING};
use crate::encode::Compression;
use crate::hash;
use crate::plan::Selection;
use crate::schema;
use crate::store::{Bucket, Disk, Network, Patience, Place, Source, Target};

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
    pub(super) fn resolve(args: &Convert, network: &Network) -> anyhow::Result<Self> {
        let mut selection = selection(&args.partitions, args.to.or_else(yesterday))?;
        selection.balancers.clone_from(&args.balancer);
        if args.objects.is_some() && args.sources.len() > 1 {
            bail!("--objects names keys of one SOURCE, but there are {}", args.sources.len());
        }
        let out = place_of(&args.out)?;
        refuse_overlap(&args.sources, &args.out, &out)?;
        let sources = open_sources(&args.sources, network)?;
        let layout = match args.layout {
            Layout::Hive => dataset::Layout::Hive,
            Layout::Plain => dataset::Layout::Plain,
        };
        let run = random_name()?;
        let target = target(&out, &run, network)?;
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

/// Returns how the stores of a run are reached.
pub(super) fn network(stores: &Stores) -> anyhow::Result<Network> {
    let mut settings = Vec::new();
    for option in &stores.option {
        match option.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                settings.push((key.to_owned(), value.to_owned()));
            }
            // It is not repeated here: it may be a secret.
            _ => bail!("an --option has no key or no value: write it like region=eu-west-1"),
        }
    }
    Ok(Network::new(settings))
}

/// Opens a dataset that is there.
pub(super) fn find_dataset(out: &Path, network: &Network) -> anyhow::Result<Dataset> {
    let run = random_name()?;
    let target = target(&place_of(out)?, &run, network)?;
    Ok(Dataset::find(target, run)?)
}

/// Opens the sources, in the order in which they are named.
pub(super) fn open_sources(names: &[String], network: &Network) -> anyhow::Result<Vec<Source>> {
    Ok(names.iter().map(|name| Source::open(name, network)).collect::<Result<Vec<_>, _>>()?)
}

/// Returns the selection of some partitions up to a day.
pub(super) fn selection(
    partitions: &Partitions,
    to: Option<NaiveDate>,
) -> anyhow::Result<Selection> {
    let Partitions { log_type, from, account, region } = partitions;
    if let (Some(from), Some(to)) = (from, to)
        && *from > to
    {
        bail!("--from {from} is after --to {to}: no day lies between them");
    }
    let (accounts, regions) = (account.clone(), region.clone());
    let log_types = log_type.iter().map(|log_type| match log_type {
        LogType::Access => schema::LogType::Access,
        LogType::Connection => schema::LogType::Connection,
        LogType::HealthCheck => schema::LogType::HealthCheck,
    });
    let log_types = log_types.collect();
    Ok(Selection { log_types, from: *from, to, accounts, regions, ..Selection::default() })
}

/// Returns the last day that does not grow any more.
pub(super) fn yesterday() -> Option<NaiveDate> {
    Utc::now().date_naive().checked_sub_days(Days::new(1))
}

fn random_name() -> anyhow::Result<String> {
    hash::random_name().context("no random name can be made for this run")
}

/// Returns the place that --out names. A path that is no text is a local one.
fn place_of(out: &Path) -> anyhow::Result<Place> {
    let Some(name) = out.to_str() else { return Ok(Place::Local(out.to_owned())) };
    Place::parse(name).context("--out")
}

/// Opens the place of a dataset for a run.
fn target(place: &Place, run: &str, network: &Network) -> anyhow::Result<Arc<dyn Target>> {
    Ok(match place {
        Place::Local(path) => {
            let absolute = std::path::absolute(path)
                .with_context(|| format!("--out {} cannot be a path", path.display()))?;
            Arc::new(Disk::new(absolute, STAGING, run))
        }
        Place::Bucket(prefix) => Arc::new(Bucket::connect(prefix, network, STAGING)?),
    })
}

/// Refuses a dataset within a source, or the reverse: each run would read what the last one wrote.
fn refuse_overlap(sources: &[String], name: &Path, out: &Place) -> anyhow::Result<()> {
    for source in sources {
        let place = Place::parse(source)?;
        if place.holds(out) {
            bail!("--out {} lies in SOURCE {source}: choose one outside", name.display());
        }
        if out.holds(&place) {
            bail!("SOURCE {source} lies in --out {}: choose another --out", name.display());
        }
    }
    Ok(())
}
