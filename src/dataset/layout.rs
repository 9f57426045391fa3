//! The dataset: the paths of its files, and the settings that all runs share.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::encode::profile::Profile;
use crate::logs::key::{PARTITION_COLUMNS, Partition};
use crate::logs::schema::LogType;
use crate::logs::{original, reject};
use crate::redact::{Agreement, Rules};
use crate::store::{
    Created, FileKey, Owner, Patience, Target, TargetError, create_confirmed, create_confirmed_by,
};
use crate::util::threads::on_threads;

/// Directory of staged files, relative to the dataset.
pub const STAGING: &str = "_alb2parquet/staging";
/// Directory of the files that replace small files in Iceberg tables, relative to the dataset.
pub(crate) const COMPACTED: &str = "_alb2parquet/compacted";
/// File with the settings of the dataset, relative to the dataset.
const DESCRIPTION: &str = "_alb2parquet/dataset.json";
/// Format version of datasets without redaction. Programs that do not support redaction can read and extend such
/// datasets.
const PLAIN_VERSION: u32 = 4;
/// Format version of redacted datasets. A program that does not support redaction rejects this version, so it cannot
/// add unredacted rows.
const REDACTED_VERSION: u32 = 5;
/// The format versions that this program supports: without and with redaction.
pub(crate) const FORMAT_VERSIONS: [u32; 2] = [PLAIN_VERSION, REDACTED_VERSION];
/// Number of files to create when testing conditional create.
pub(crate) const PROBES: usize = 5;
/// Number of concurrent attempts to create each of these files.
pub(crate) const RACERS: usize = 16;

/// How partitions are mapped to directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// `account=…/region=…/year=…/month=…/day=…`. Engines can discover partitions in this layout.
    #[default]
    Hive,
    /// `ACCOUNT/REGION/yyyy/mm/dd`, as in the source.
    Plain,
}

impl Layout {
    /// Returns a partition's directory relative to the table, given the values of [`PARTITION_COLUMNS`].
    pub(crate) fn directory<S: AsRef<str>>(self, values: &[S; 5]) -> String {
        let parts = PARTITION_COLUMNS.iter().zip(values).map(|(column, value)| match self {
            Self::Hive => format!("{column}={}", value.as_ref()),
            Self::Plain => value.as_ref().to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Parses a partition's directory, given relative to the table.
    fn parse(self, log_type: LogType, directory: &str) -> Option<Partition> {
        let mut columns = PARTITION_COLUMNS.iter();
        let values = directory.split('/').map(|part| match (self, columns.next()?) {
            (Self::Hive, column) => part.strip_prefix(column)?.strip_prefix('='),
            (Self::Plain, _) => Some(part),
        });
        let values: Vec<&str> = values.collect::<Option<_>>()?;
        let [account, region, year, month, day] = values[..] else { return None };
        let day = format!("{year}-{month}-{day}").parse().ok()?;
        let partition = Partition::new(log_type, account, region, day).ok()?;
        (self.directory(&partition.values()) == directory).then_some(partition)
    }
}

/// The content of `dataset.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    format_version: u32,
    /// A random ID. Runs use it to detect that the dataset was replaced.
    #[serde(default)]
    id: String,
    layout: Layout,
    /// Whether the store supports conditional create: when several runs create the same file concurrently, only one
    /// succeeds.
    conditional_creates: bool,
    /// Profile of the run that created the dataset. Later runs can use a different profile.
    #[serde(default, skip_serializing_if = "Profile::is_compact")]
    profile: Profile,
    #[serde(default, skip_serializing_if = "Agreement::is_empty")]
    redaction: Agreement,
}

/// The part of `dataset.json` that all versions share.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// The settings with which a run opens a dataset for writing.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Layout of the partition directories.
    pub layout: Layout,
    /// Name of the run, unique among all runs.
    pub run: String,
    /// Whether the user asserts that no other run writes at the same time.
    pub single_writer: bool,
    /// Retry policy for creates with an unknown outcome.
    pub patience: Patience,
    /// The redaction that the dataset must have.
    pub redaction: Agreement,
    /// Profile of new files.
    pub profile: Profile,
}

/// A dataset.
#[derive(Debug, Clone)]
pub struct Dataset {
    target: Arc<dyn Target>,
    id: String,
    layout: Layout,
    run: String,
    conditional_creates: bool,
    patience: Patience,
    redaction: Agreement,
    profile: Profile,
}

/// Why a dataset cannot be read or must not be written.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file of the dataset cannot be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The threads that test conditional create cannot be started.
    #[error("conditional create cannot be tested")]
    NoThreads(#[source] io::Error),
    /// The dataset was deleted or replaced during the run.
    #[error(
        "{0} was deleted or replaced during this run, and files of the dataset may be lost: run the same command \
         again"
    )]
    Replaced(String),
    /// There is no dataset.
    #[error("{0} holds no dataset: {DESCRIPTION} does not exist")]
    Missing(String),
    /// A state file cannot be parsed.
    #[error("{name} cannot be parsed")]
    State {
        /// Path or URL of the file.
        name: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// A state file contradicts itself or its location.
    #[error("{name} is broken: {why}")]
    Broken {
        /// Path or URL of the file.
        name: String,
        /// The contradiction.
        why: String,
    },
    /// The dataset has no description, and one of its files is in a directory that does not match the layout.
    #[error("{0} exists, but {DESCRIPTION} does not, and this layout does not put files there")]
    Misplaced(String),
    /// A newer version of the program wrote an entry of a log.
    #[error("{name} was written by a newer version of this program: its action is {action}")]
    Newer {
        /// Path or URL of the entry.
        name: String,
        /// The action of the entry, which this version does not support.
        action: String,
    },
    /// No claim accounts for a data file.
    #[error(
        "{partition}: no claim accounts for {name}{}, so the objects of the partition are unknown",
        more(*.others)
    )]
    Unaccounted {
        /// The partition.
        partition: Partition,
        /// Path or URL of the first unaccounted file.
        name: String,
        /// Number of further unaccounted files.
        others: usize,
    },
    /// The dataset has a format version that this program does not support.
    #[error(
        "the dataset has format version {0}, but this program supports only {PLAIN_VERSION} and \
         {REDACTED_VERSION}"
    )]
    Version(u32),
    /// The dataset has a different layout.
    #[error("the dataset was created with the layout {0}")]
    Layout(Layout),
    /// The dataset has a different redaction, or none.
    #[error("{}", redacted(.0))]
    Redaction(Rules),
    /// The dataset's values were hashed with a different key.
    #[error("the dataset was created with another key for hashes")]
    RedactionKey,
    /// The store does not support conditional create.
    #[error(
        "{0}: the store does not support conditional create (create a file only if it does not exist), so \
         concurrent runs could write rows twice"
    )]
    Unconditional(String),
}

/// Returns the directories of all tables that query engines read.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    LogType::ALL.iter().map(|log_type| log_type.table().name.as_str()).chain([reject::TABLE])
}

/// Splits the key of a file into its table and the path below the table.
pub(crate) fn split_table(key: &str) -> Option<(&str, &str)> {
    match key.strip_prefix(original::TABLE) {
        Some(rest) => Some((original::TABLE, rest.strip_prefix('/')?)),
        None => key.split_once('/'),
    }
}

/// Returns the path of a compacted file below [`COMPACTED`], or `None` if the key is not that of a compacted file.
pub(crate) fn below_compacted(key: &str) -> Option<&str> {
    key.strip_prefix(COMPACTED)?.strip_prefix('/')
}

/// Returns whether engines ignore a file because of its name, as they do for temporary files left behind by Spark.
pub(crate) fn is_hidden(key: &str) -> bool {
    key.split('/').any(|part| part.starts_with(['_', '.']))
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" and {others} other files"),
    }
}

impl DatasetError {
    /// Returns the error message, followed by the message of the error's cause.
    pub fn with_source(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// Returns whether the error affects only a single partition.
    pub fn is_of_partition(&self) -> bool {
        matches!(
            self,
            Self::State { .. }
                | Self::Broken { .. }
                | Self::Newer { .. }
                | Self::Unaccounted { .. }
        )
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hive => "hive",
            Self::Plain => "plain",
        })
    }
}

fn redacted(rules: &Rules) -> String {
    if rules.is_empty() {
        "the dataset was created without redaction and contains unredacted values".to_owned()
    } else {
        format!("the dataset was created with another redaction: {}", rules.actions().join(", "))
    }
}

impl Dataset {
    /// Opens a target's dataset for writing. Creates the dataset if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails when the dataset cannot be written, was created with other settings, or is in a store without conditional
    /// create.
    pub fn open(target: Arc<dyn Target>, opening: Opening) -> Result<Self, DatasetError> {
        let Opening { layout, run, single_writer, patience, redaction, profile } = opening;
        let (id, conditional_creates) = (String::new(), true);
        let mut dataset =
            Self { target, id, layout, run, conditional_creates, patience, redaction, profile };
        let description = match dataset.description()? {
            Some(description) => description,
            None => dataset.initialize(single_writer)?,
        };
        dataset.agree(&description)?;
        if !description.conditional_creates && !single_writer {
            return Err(DatasetError::Unconditional(dataset.target.name("")));
        }
        dataset.adopt(description);
        Ok(dataset)
    }

    /// Opens an existing dataset with its original settings.
    ///
    /// # Errors
    ///
    /// Fails when the dataset does not exist or cannot be read.
    pub fn find(target: Arc<dyn Target>, run: String) -> Result<Self, DatasetError> {
        let mut dataset = Self {
            target,
            id: String::new(),
            layout: Layout::Hive,
            run,
            conditional_creates: true,
            patience: Patience::default(),
            redaction: Agreement::default(),
            profile: Profile::default(),
        };
        let Some(description) = dataset.description()? else {
            return Err(DatasetError::Missing(dataset.target.name("")));
        };
        dataset.adopt(description);
        Ok(dataset)
    }

    /// Opens a dataset read-only for a dry run with this layout and, if known, this redaction. Returns the dataset and
    /// whether it exists.
    ///
    /// # Errors
    ///
    /// Fails when the dataset cannot be read or was created with other settings.
    pub fn open_read_only(
        target: Arc<dyn Target>,
        run: String,
        layout: Layout,
        redaction: Option<Agreement>,
    ) -> Result<(Self, bool), DatasetError> {
        let is_known = redaction.is_some();
        let mut dataset = Self {
            target,
            id: String::new(),
            layout,
            run,
            conditional_creates: true,
            patience: Patience::default(),
            redaction: redaction.unwrap_or_default(),
            profile: Profile::default(),
        };
        let Some(description) = dataset.description()? else { return Ok((dataset, false)) };
        if !is_known {
            dataset.redaction = description.redaction.clone();
        }
        dataset.agree(&description)?;
        dataset.adopt(description);
        Ok((dataset, true))
    }

    /// Applies the settings from the description.
    fn adopt(&mut self, description: Description) {
        let Description { format_version: _, id, layout, conditional_creates, profile, redaction } =
            description;
        *self = Self {
            target: Arc::clone(&self.target),
            run: mem::take(&mut self.run),
            patience: self.patience,
            id,
            layout,
            conditional_creates,
            profile,
            redaction,
        };
    }

    /// Checks that the dataset's layout and redaction match those of this run.
    fn agree(&self, description: &Description) -> Result<(), DatasetError> {
        if description.layout != self.layout {
            return Err(DatasetError::Layout(description.layout));
        }
        if description.redaction.columns != self.redaction.columns {
            return Err(DatasetError::Redaction(description.redaction.columns.clone()));
        }
        if description.redaction != self.redaction {
            return Err(DatasetError::RedactionKey);
        }
        Ok(())
    }

    /// Returns the target that contains the dataset's files.
    pub fn target(&self) -> &Arc<dyn Target> {
        &self.target
    }

    /// Returns the random ID of the dataset. It is empty if the dataset does not exist yet.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of this run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the directory of a partition in a table.
    pub fn partition(&self, table: &str, partition: &Partition) -> String {
        format!("{table}/{}", self.layout.directory(&partition.values()))
    }

    /// Returns the key of a file, given its table, partition and name.
    pub fn file(&self, table: &str, partition: &Partition, name: &str) -> FileKey {
        let key = format!("{}/{name}", self.partition(table, partition));
        FileKey::parse(key).expect("tables, partitions and names of files have valid names")
    }

    /// Returns the partition of the row, reject, originals or compacted file with this key.
    pub fn partition_of(&self, key: &str) -> Option<Partition> {
        let (table, rest) = match below_compacted(key) {
            Some(below) => below.split_once('/')?,
            None => split_table(key)?,
        };
        let (directory, name) = rest.rsplit_once('/')?;
        let of_rows = LogType::ALL.into_iter().find(|log_type| log_type.table().name == table);
        let is_shared = [reject::TABLE, original::TABLE].contains(&table);
        let of_others = || reject::log_type(name).filter(|_| is_shared);
        self.layout.parse(of_rows.or_else(of_others)?, directory)
    }

    /// Returns the layout, which maps partitions to directories.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the redaction that all runs apply.
    pub fn redaction(&self) -> &Agreement {
        &self.redaction
    }

    /// Checks that the dataset is still the one that this run opened.
    ///
    /// # Errors
    ///
    /// Fails if the dataset was deleted or replaced, or if `dataset.json` cannot be read.
    pub fn confirm(&self) -> Result<(), DatasetError> {
        match self.description()? {
            Some(description) if description.id == self.id => Ok(()),
            _ => Err(DatasetError::Replaced(self.target.name(DESCRIPTION))),
        }
    }

    /// Returns the profile of the run that created the dataset.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Creates a state file, unless it exists, and returns whether this call or another run created it. The content
    /// must be unique to this run.
    ///
    /// # Errors
    ///
    /// Fails if the outcome is unknown, in which case the file may still appear. Also fails like [`Self::confirm`], so
    /// that a run does not create state files in a deleted dataset.
    pub fn create(&self, key: &str, bytes: &[u8]) -> Result<Owner, DatasetError> {
        self.confirm()?;
        if !self.conditional_creates
            && let Some(found) = self.target.get(key)?
            && found != bytes
        {
            return Ok(Owner::Theirs(found));
        }
        Ok(create_confirmed(&*self.target, key, bytes, self.patience)?)
    }

    /// Creates a file like [`Self::create`] but does not make it durable: it may be lost if the machine fails.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::create`].
    pub fn create_non_durable(&self, key: &str, bytes: &[u8]) -> Result<Owner, DatasetError> {
        self.confirm()?;
        let create = || self.target.create_non_durable(key, bytes);
        Ok(create_confirmed_by(create, &*self.target, key, bytes, self.patience)?)
    }

    /// Returns the content of `dataset.json`, if the file exists.
    fn description(&self) -> Result<Option<Description>, DatasetError> {
        let Some(text) = self.target.get(DESCRIPTION)? else { return Ok(None) };
        let state = |source| DatasetError::State { name: self.target.name(DESCRIPTION), source };
        let version: Version = serde_json::from_slice(&text).map_err(state)?;
        if !(PLAIN_VERSION..=REDACTED_VERSION).contains(&version.format_version) {
            return Err(DatasetError::Version(version.format_version));
        }
        Ok(Some(serde_json::from_slice(&text).map_err(state)?))
    }

    /// Creates `dataset.json`, unless another run already has, and returns its content.
    fn initialize(&self, single_writer: bool) -> Result<Description, DatasetError> {
        let conditional_creates = self.probe()?;
        if !conditional_creates && !single_writer {
            return Err(DatasetError::Unconditional(self.target.name("")));
        }
        self.refuse_misplaced()?;
        let is_plain = self.redaction.is_empty();
        let format_version = if is_plain { PLAIN_VERSION } else { REDACTED_VERSION };
        let ours = Description {
            format_version,
            id: self.run.clone(),
            layout: self.layout,
            conditional_creates,
            profile: self.profile,
            redaction: self.redaction.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&ours).expect("plain values");
        text.push(b'\n');
        create_confirmed(&*self.target, DESCRIPTION, &text, self.patience)?;
        self.description()?.ok_or_else(|| DatasetError::Missing(self.target.name("")))
    }

    /// Fails if the files of a dataset without a description do not match the layout, because their partitions would be
    /// unknown.
    fn refuse_misplaced(&self) -> Result<(), DatasetError> {
        for table in tables() {
            let listed = self.target.list(table)?;
            let is_misplaced = |key: &&String| !is_hidden(key) && self.partition_of(key).is_none();
            if let Some(key) = listed.iter().map(|stored| &stored.key).find(is_misplaced) {
                return Err(DatasetError::Misplaced(self.target.name(key)));
            }
        }
        Ok(())
    }

    /// Tests whether the store supports conditional create: when several runs create the same file concurrently, only
    /// one may succeed.
    ///
    /// Passing the test is evidence, not proof, but a store that ignores the condition is detected immediately.
    fn probe(&self) -> Result<bool, DatasetError> {
        let (mut conditional, mut won, mut failed) = (true, false, None);
        for probe in 0..PROBES {
            let key = format!("{STAGING}/{}-probe-{probe}", self.run);
            let content = |racer: usize| format!("{}-{racer}", self.run).into_bytes();
            let racers = AtomicUsize::new(0);
            let created = on_threads(RACERS, || {
                let racer = racers.fetch_add(1, Ordering::Relaxed);
                (racer, self.target.create_non_durable(&key, &content(racer)))
            });
            if created.len() < 2 {
                return Err(DatasetError::NoThreads(io::ErrorKind::WouldBlock.into()));
            }
            let written = self.target.get(&key)?;
            let deleted = self.target.delete(&key);
            let mut winners = Vec::new();
            for (racer, created) in created {
                match created {
                    Ok(Created::Now) => winners.push(content(racer)),
                    Ok(Created::Before) => {}
                    Err(error) => failed = Some(error),
                }
            }
            // If the response to the successful create was lost, no racer knows that it won.
            let nobody = winners.is_empty();
            conditional &= nobody || winners.len() == 1 && written.as_ref() == winners.first();
            won |= !nobody;
            if nobody
                && written.is_none()
                && let Some(error) = failed.take()
            {
                return Err(error.into());
            }
            deleted?;
        }
        Ok(conditional && won)
    }
}
