//! Validates arguments, and opens the sources and the dataset of a run. Invalid arguments are reported here, before the
//! run does any work.

use std::env::{self, VarError};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{Days, NaiveDate, Utc};

use crate::cli::hint::OfFlag;
use crate::cli::options::{Held, Layout, LogType, Partitions, Profile, Stores, Wanted};
use crate::cli::signals::Signals;
use crate::cli::terminal::print_line;
use crate::cli::waiting;
use crate::dataset::layout::{self, Dataset, STAGING};
use crate::encode::profile;
use crate::logs::schema;
use crate::plan::sources::{self, OpenError, Overlap};
use crate::plan::{Gathering, PlanError, Scope, Selection};
use crate::store::{Network, Place, Source, StoreError, Target, has_secret};
use crate::util::hash;

pub(super) fn layout(layout: Layout) -> layout::Layout {
    match layout {
        Layout::Hive => layout::Layout::Hive,
        Layout::Plain => layout::Layout::Plain,
    }
}

pub(super) fn profile(profile: Profile) -> profile::Profile {
    match profile {
        Profile::Portable => profile::Profile::Portable,
        Profile::Compact => profile::Profile::Compact,
    }
}

pub(super) fn log_type(log_type: LogType) -> schema::LogType {
    match log_type {
        LogType::Access => schema::LogType::Access,
        LogType::Connection => schema::LogType::Connection,
        LogType::HealthCheck => schema::LogType::HealthCheck,
        LogType::NlbTls => schema::LogType::NlbTls,
        LogType::Classic => schema::LogType::Classic,
    }
}

/// Returns the key for hashing redacted values, if it is set. The key can only be set in the environment, so that it
/// never appears in a process list or shell history.
pub(super) fn redact_key() -> anyhow::Result<Option<String>> {
    const VARIABLE: &str = "ALB2PARQUET_REDACT_KEY";
    match env::var(VARIABLE) {
        Ok(key) => Ok(Some(key).filter(|key| !key.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{VARIABLE} is not valid UTF-8"),
    }
}

/// Returns the network settings for a run. Calls `say` with a line of text whenever a store does not respond.
pub(super) fn network(
    stores: &Stores,
    say: impl Fn(&str) + Send + 'static,
) -> anyhow::Result<Network> {
    let mut settings = Vec::new();
    for option in &stores.option {
        match option.split_once('=') {
            Some((key, value)) if !key.is_empty() && has_secret(value) => {
                bail!(
                    "--option {key}: the URL contains credentials (not shown here): pass them in the \
                     environment or a profile instead"
                );
            }
            Some((key, value)) if !key.is_empty() => {
                settings.push((key.to_owned(), value.to_owned()));
            }
            // The message does not quote the option, because it may be a secret.
            _ => bail!(
                "an --option has no key or no value: expected KEY=VALUE, such as region=eu-west-1"
            ),
        }
    }
    let network = Network::new(settings);
    waiting::watch(Arc::clone(&network.traffic), say);
    Ok(network)
}

/// Opens an existing dataset.
pub(super) fn find_dataset(out: &Path, network: &Network) -> anyhow::Result<Dataset> {
    let run = random_name()?;
    let target = target(&place_of(out)?, &run, network)?;
    Ok(Dataset::find(target, run)?)
}

/// Opens an existing dataset and returns it with the partition selection.
pub(super) fn held(held: &Held) -> anyhow::Result<(Dataset, Selection)> {
    let selection = selection(&held.partitions, held.to)?;
    let dataset = find_dataset(&held.out, &network(&held.stores, print_line)?)?;
    Ok((dataset, selection))
}

/// Opens the sources in the order of the arguments, and sets their scopes in the selection. If `is_listed` is false, an
/// object list replaces the listing, so no listing is requested.
pub(super) fn open_sources(
    names: &[String],
    is_listed: bool,
    network: &Network,
    selection: &mut Selection,
) -> anyhow::Result<Vec<Source>> {
    let (sources, scopes) = sources::open(names, is_listed, network).map_err(of_source)?;
    selection.scopes = scopes;
    Ok(sources)
}

/// Adds SOURCE as context to errors that do not mention it.
fn of_source(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Scope(error) => error.into(),
        OpenError::Store(
            error @ (StoreError::Empty | StoreError::Secret(_) | StoreError::Almost { .. }),
        ) => anyhow::Error::new(error).context("SOURCE"),
        OpenError::Store(error) => error.into(),
    }
}

/// Returns the selection of objects in the sources. By default, the selection ends yesterday.
pub(super) fn selected(wanted: &Wanted, sources: &[String]) -> anyhow::Result<Selection> {
    if wanted.objects.is_some() {
        if sources.len() > 1 {
            bail!("--objects needs a single SOURCE, but there are {}", sources.len());
        }
        if let Some((name, _)) =
            sources::scopes(sources)?.iter().find(|(_, scope)| *scope != Scope::All)
        {
            bail!("--objects needs a directory or a prefix as SOURCE, such as {name}");
        }
    }
    let mut selection = selection(&wanted.partitions, wanted.to.or_else(yesterday))?;
    selection.balancers.clone_from(&wanted.balancer);
    selection.shard = wanted.shard;
    Ok(selection)
}

/// Starts listing the sources or, with `--objects`, reads the object list instead.
pub(super) fn gathering<'a>(
    wanted: &Wanted,
    sources: &'a [Source],
    selection: &'a Selection,
    network: &Network,
    signals: &'a Signals,
) -> anyhow::Result<Gathering<'a>> {
    let Some(names) = &wanted.objects else {
        return Ok(Gathering::of(sources, selection, signals.stop()));
    };
    Gathering::of_list(names, sources, network, selection, signals.stop()).map_err(of_list)
}

/// Adds the flag to an error about an object list.
pub(super) fn of_list(error: PlanError) -> anyhow::Error {
    match error {
        PlanError::Objects(error) => OfFlag::new("--objects", error).into(),
        error @ PlanError::Unfound { .. } => OfFlag::new("--objects", error).into(),
        error => error.into(),
    }
}

/// Returns the selection of partitions, up to and including the day `to`.
pub(super) fn selection(
    partitions: &Partitions,
    to: Option<NaiveDate>,
) -> anyhow::Result<Selection> {
    let Partitions { log_type, from, account, region } = partitions;
    if let (Some(from), Some(to)) = (from, to)
        && *from > to
    {
        bail!("--from {from} is after --to {to}: no day is selected");
    }
    let (accounts, regions) = (account.clone(), region.clone());
    let log_types = log_type.iter().copied().map(self::log_type).collect();
    Ok(Selection { log_types, from: *from, to, accounts, regions, ..Selection::default() })
}

/// Returns yesterday (UTC), the last complete day.
pub(super) fn yesterday() -> Option<NaiveDate> {
    Utc::now().date_naive().checked_sub_days(Days::new(1))
}

pub(super) fn random_name() -> anyhow::Result<String> {
    hash::random_name().context("cannot generate a random name for this run")
}

/// Fails if the dataset is redacted, because the original objects cannot be restored from it.
pub(super) fn refuse_redacted(dataset: &Dataset) -> anyhow::Result<()> {
    if !dataset.redaction().is_empty() {
        let name = dataset.target().name("");
        bail!("{name} is redacted, so the original objects cannot be restored from it");
    }
    Ok(())
}

/// Parses the value of `--out`. A value that is not valid UTF-8 is treated as a local path.
pub(super) fn place_of(out: &Path) -> anyhow::Result<Place> {
    let Some(name) = out.to_str() else { return Ok(Place::Local(out.to_owned())) };
    Place::parse(name).context("--out")
}

/// Opens the dataset's target for a run.
pub(super) fn target(
    place: &Place,
    run: &str,
    network: &Network,
) -> anyhow::Result<Arc<dyn Target>> {
    place.target(STAGING, run, network).map_err(|error| match error {
        error @ StoreError::Path { .. } => anyhow::Error::new(error).context("--out"),
        error => error.into(),
    })
}

/// Fails if the dataset is inside a source or a source is inside the dataset, because each run would then read the
/// previous run's output.
pub(super) fn refuse_overlap(sources: &[String], name: &Path, out: &Place) -> anyhow::Result<()> {
    for source in sources {
        match sources::overlap(source, out).map_err(of_source)? {
            Some(Overlap::InSource) => {
                bail!("--out {} is inside SOURCE {source}: choose another --out", name.display());
            }
            Some(Overlap::InDataset) => {
                bail!("SOURCE {source} is inside --out {}: choose another --out", name.display());
            }
            None => {}
        }
    }
    Ok(())
}
