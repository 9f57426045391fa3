//! From what the user typed to what a run needs. Every refusal happens here, before any work.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use chrono::{Days, NaiveDate, Utc};

use crate::cli::args::{Codec, Convert, Ddl, Dialect, Layout, LogType, Partitions, Stores};
use crate::dataset::{self, Dataset, DatasetError, Opening, STAGING};
use crate::ddl::{self, External};
use crate::encode::Compression;
use crate::hash;
use crate::key::Partition;
use crate::plan::Selection;
use crate::reject;
use crate::remove::{self, Contents};
use crate::schema::{self, Kind, Table};
use crate::store::{Bucket, Disk, Network, Patience, Place, Source, Target};

/// A run that may begin.
pub(super) struct Run {
    pub(super) sources: Vec<Source>,
    pub(super) dataset: Dataset,
    pub(super) selection: Selection,
    pub(super) target_size: u64,
    pub(super) compression: Compression,
    pub(super) bloom_filters: Vec<String>,
    pub(super) threads: usize,
    pub(super) max_rejects: f64,
}

impl Run {
    pub(super) fn resolve(args: &Convert, network: &Network) -> anyhow::Result<Self> {
        let bloom_filters = bloom_filters(&args.bloom_filter)?;
        let mut selection = selection(&args.partitions, args.to.or_else(yesterday))?;
        selection.balancers.clone_from(&args.balancer);
        if args.objects.is_some() && args.sources.len() > 1 {
            bail!("--objects names keys of one SOURCE, but there are {}", args.sources.len());
        }
        let out = place_of(&args.out)?;
        refuse_overlap(&args.sources, &args.out, &out)?;
        let sources = open_sources(&args.sources, network)?;
        let layout = layout(args.layout);
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
            bloom_filters,
            threads: match args.threads {
                Some(threads) => threads.into(),
                None => thread::available_parallelism().map_or(1, usize::from),
            },
            max_rejects: args.max_rejects,
        })
    }
}

/// Returns the table that an engine is to be told of, and who that is.
pub(super) fn external(args: &Ddl) -> anyhow::Result<(External, ddl::Dialect)> {
    let dialect = match args.dialect {
        Dialect::Athena => ddl::Dialect::Athena,
        Dialect::Trino => ddl::Dialect::Trino,
        Dialect::Spark => ddl::Dialect::Spark,
        Dialect::Duckdb => ddl::Dialect::DuckDb,
        Dialect::Glue => ddl::Dialect::Glue,
    };
    let mut table = described(&args.log_type)?;
    if let Some(name) = &args.from_dataset {
        let dataset = find_dataset(name, &network(&args.stores)?)?;
        table.layout = dataset.layout();
        if let Some(asked) = args.layout.map(layout)
            && asked != table.layout
        {
            return Err(DatasetError::Layout(table.layout).into());
        }
        table.hold(held(&dataset, &table, &args.log_type)?);
        if table.accounts.is_empty() {
            bail!("{} holds nothing of {} yet", name.display(), table.name);
        }
    } else {
        table.layout = args.layout.map_or(dataset::Layout::Hive, layout);
        table.accounts.clone_from(&args.account);
        table.regions.clone_from(&args.region);
    }
    let dataset = match (&args.location, &args.from_dataset) {
        (Some(location), _) => location.clone(),
        (None, Some(name)) => name.to_str().context("--from-dataset is no text")?.to_owned(),
        (None, None) => bail!("say where the dataset is: --location or --from-dataset"),
    };
    table.location = location(&dataset, &table.location, dialect)?;
    table.projection =
        !args.no_projection && !matches!(dialect, ddl::Dialect::Spark | ddl::Dialect::DuckDb);
    if let Some(name) = &args.name {
        table.name.clone_from(name);
    }
    Ok((table, dialect))
}

/// Describes the table of a log type, or of rejects.
fn described(log_type: &str) -> anyhow::Result<External> {
    const REJECTS: &str = "rejects";
    if log_type == REJECTS {
        return Ok(External::rejects());
    }
    if let Some(of_type) = schema::LogType::named(log_type) {
        return Ok(External::rows(of_type.table()));
    }
    let types = schema::LogType::ALL.map(schema::LogType::as_str);
    bail!("there is no --log-type {log_type}: say one of {}, {REJECTS}", types.join(", "))
}

/// Returns the partitions in which a table has files.
fn held(
    dataset: &Dataset,
    table: &External,
    log_type: &str,
) -> anyhow::Result<BTreeSet<Partition>> {
    let rejects = table.name == reject::TABLE;
    let files = |each: &Contents| {
        if rejects {
            each.rejects > 0
        } else {
            each.rows > 0 && each.partition.log_type.as_str() == log_type
        }
    };
    let contents = remove::contents(dataset, &Selection::default())?;
    // Rejects of all logs lie together.
    let of_one = |each: Contents| Partition { log_type: schema::LogType::Access, ..each.partition };
    Ok(contents.into_iter().filter(files).map(of_one).collect())
}

/// Returns the place of a table's directory as an engine is to be told of it.
fn location(dataset: &str, directory: &str, dialect: ddl::Dialect) -> anyhow::Result<String> {
    let place = match Place::parse(dataset)? {
        Place::Local(path) => {
            let path = std::path::absolute(&path)
                .with_context(|| format!("{} cannot be a path", path.display()))?;
            let path = path.to_str().context("the path of the dataset is no text")?.to_owned();
            if dialect == ddl::Dialect::DuckDb { path } else { format!("file://{path}") }
        }
        Place::Bucket(_) => match dataset.strip_prefix("s3a://") {
            // Only Hadoop knows that name.
            Some(rest) if dialect != ddl::Dialect::Spark => format!("s3://{rest}"),
            _ => dataset.to_owned(),
        },
    };
    Ok(format!("{}/{directory}", place.trim_end_matches('/')))
}

fn layout(layout: Layout) -> dataset::Layout {
    match layout {
        Layout::Hive => dataset::Layout::Hive,
        Layout::Plain => dataset::Layout::Plain,
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

/// Returns the columns that are to have Bloom filters, sorted, since they decide the names of files.
fn bloom_filters(names: &[String]) -> anyhow::Result<Vec<String>> {
    let is_text = |name: &str| {
        let tables = schema::LogType::ALL.into_iter().map(schema::LogType::table);
        tables
            .flat_map(Table::columns)
            .any(|(_, column)| column.name == name && column.kind == Kind::String)
    };
    if let Some(wrong) = names.iter().find(|name| !is_text(name)) {
        bail!("--bloom-filter {wrong}: no table has a text column of that name, such as trace_id");
    }
    let names: BTreeSet<String> = names.iter().cloned().collect();
    Ok(names.into_iter().collect())
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
