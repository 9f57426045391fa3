//! The dataset: where its files lie, and what all of its runs have agreed on.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::encode::profile::Profile;
use crate::logs::key::{PARTITION_COLUMNS, Partition};
use crate::logs::reject;
use crate::logs::schema::LogType;
use crate::redact::{Agreement, Rules};
use crate::store::{
    Created, FileKey, Owner, Patience, Target, TargetError, create_surely, create_surely_by,
};
use crate::util::threads::on_threads;

/// Directory of what is not visible yet, below the dataset.
pub const STAGING: &str = "_alb2parquet/staging";
/// What the dataset is, below it.
const DESCRIPTION: &str = "_alb2parquet/dataset.json";
/// Of datasets that hold everything. Programs that know nothing else read them, and go on with them.
const PLAIN_VERSION: u32 = 4;
/// Of datasets that are redacted: a program that does not know it would write in clear.
const REDACTED_VERSION: u32 = 5;
/// Those that this program knows, of datasets that hold everything and of redacted ones.
pub(crate) const FORMAT_VERSIONS: [u32; 2] = [PLAIN_VERSION, REDACTED_VERSION];
/// Names that are tried before the first claim.
pub(crate) const PROBES: usize = 5;
/// Attempts at once for each of these names.
pub(crate) const RACERS: usize = 16;

/// How partitions become directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `account=…/region=…/year=…/month=…/day=…`, which engines find by themselves.
    #[default]
    Hive,
    /// `ACCOUNT/REGION/yyyy/mm/dd`, as in the source.
    Plain,
}

impl Layout {
    /// Returns the directory of a partition below its table, from the values of
    /// [`PARTITION_COLUMNS`].
    pub(crate) fn directory<S: AsRef<str>>(self, values: &[S; 5]) -> String {
        let parts = PARTITION_COLUMNS.iter().zip(values).map(|(column, value)| match self {
            Self::Hive => format!("{column}={}", value.as_ref()),
            Self::Plain => value.as_ref().to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Parses the directory of a partition below its table.
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

/// What `dataset.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    format_version: u32,
    /// A random id, by which a run detects that its dataset was replaced.
    #[serde(default)]
    id: String,
    layout: Layout,
    /// Whether of those who created a file at once exactly one was told so.
    conditional_creates: bool,
    /// Profile of the run that created the dataset. Later runs can use another.
    #[serde(default, skip_serializing_if = "Profile::is_compact")]
    profile: Profile,
    #[serde(default, skip_serializing_if = "Agreement::is_empty")]
    redaction: Agreement,
}

/// The part of it that every version has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// How a run begins to write to a dataset.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The layout it is to have.
    pub layout: Layout,
    /// A name that no other run has.
    pub run: String,
    /// Whether the user vouches that no other run writes at the same time.
    pub single_writer: bool,
    /// How unknown outcomes are looked into.
    pub patience: Patience,
    /// What is to be redacted.
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

/// The dataset cannot be written, or must not be.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file of it cannot be written or read.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Testing conditional create needs threads, which the system refuses to start.
    #[error("conditional create cannot be tested")]
    NoThreads(#[source] io::Error),
    /// The dataset was deleted or replaced during the run.
    #[error(
        "{0} was deleted or replaced during this run, and files of the dataset may be lost: run the same command \
         again"
    )]
    Replaced(String),
    /// There is no dataset.
    #[error("{0} holds no dataset: there is no {DESCRIPTION}")]
    Missing(String),
    /// A file of the state does not say what it should.
    #[error("{name} cannot be understood")]
    State {
        /// Its path or URL.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A state file contradicts itself or its location.
    #[error("{name} is broken: {why}")]
    Broken {
        /// Its path or URL.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The dataset has no description, and a file is not where the layout would put it.
    #[error("{0} exists, but {DESCRIPTION} does not, and this layout does not put files there")]
    Misplaced(String),
    /// A newer version of the program wrote an entry of a log.
    #[error("{name} was written by a newer version of this program: its action is {action}")]
    Newer {
        /// Its path or URL.
        name: String,
        /// What it says is to be done.
        action: String,
    },
    /// A data file is in no claim.
    #[error(
        "{partition}: no claim accounts for {name}{}, so the objects of the partition are unknown",
        more(*.others)
    )]
    Unaccounted {
        /// The partition.
        partition: Partition,
        /// The path or URL of the first such file.
        name: String,
        /// Number of further ones.
        others: usize,
    },
    /// The dataset was made by a version that lays it out otherwise.
    #[error(
        "the dataset has format version {0}, this program reads and writes {PLAIN_VERSION} and {REDACTED_VERSION}"
    )]
    Version(u32),
    /// The dataset was begun with another layout.
    #[error("the dataset was begun with the layout {0}")]
    Layout(Layout),
    /// The dataset was begun with another redaction, or none.
    #[error("{}", redacted(.0))]
    Redaction(Rules),
    /// The dataset's values were hashed with another key.
    #[error("the dataset was begun with another key for hashes")]
    RedactionKey,
    /// The store lets two runs create the same file.
    #[error(
        "{0}: the store does not keep two runs from creating the same file, so that runs at the same time \
         could write rows twice"
    )]
    Unconditional(String),
}

/// Returns the directories of all tables.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    LogType::ALL.iter().map(|log_type| log_type.table().name.as_str()).chain([reject::TABLE])
}

/// Returns whether engines skip a file for its name, such as the temporary files that Spark leaves behind.
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
    /// Writes the error out with what caused it.
    pub fn with_source(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// Returns whether the error affects a single partition only.
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
        "the dataset was begun without redaction, and holds values in clear".to_owned()
    } else {
        format!("the dataset was begun with another redaction: {}", rules.actions().join(", "))
    }
}

impl Dataset {
    /// Opens the dataset in a target to write to it, or begins it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be written, was begun differently, or lies in a store that does not keep
    /// runs apart.
    pub fn open(target: Arc<dyn Target>, opening: Opening) -> Result<Self, DatasetError> {
        let Opening { layout, run, single_writer, patience, redaction, profile } = opening;
        let (id, conditional_creates) = (String::new(), true);
        let mut dataset =
            Self { target, id, layout, run, conditional_creates, patience, redaction, profile };
        let description = match dataset.description()? {
            Some(description) => description,
            None => dataset.begin(single_writer)?,
        };
        dataset.agree(&description)?;
        if !description.conditional_creates && !single_writer {
            return Err(DatasetError::Unconditional(dataset.target.name("")));
        }
        dataset.adopt(description);
        Ok(dataset)
    }

    /// Opens a dataset that is there, as it was begun.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or it cannot be read.
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

    /// Opens a dataset to look at, for a run that would write it with some layout, and redact so much if that is
    /// known. Returns it, and whether it is there yet. Nothing is written.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read, or was begun differently.
    pub fn look(
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

    /// Takes over what the description says.
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

    /// Sees whether the dataset was begun as this run would have it.
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

    /// Returns where its files are.
    pub fn target(&self) -> &Arc<dyn Target> {
        &self.target
    }

    /// Returns the name of this run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the directory of a partition of a table.
    pub fn partition(&self, table: &str, partition: &Partition) -> String {
        format!("{table}/{}", self.layout.directory(&partition.values()))
    }

    /// Returns the key of a file of a table, by its name.
    pub fn file(&self, table: &str, partition: &Partition, name: &str) -> FileKey {
        let key = format!("{}/{name}", self.partition(table, partition));
        FileKey::parse(key).expect("tables, partitions and names of files have valid names")
    }

    /// Returns the partition of a file of rows or rejects, by its key.
    pub fn partition_of(&self, key: &str) -> Option<Partition> {
        let (table, rest) = key.split_once('/')?;
        let (directory, name) = rest.rsplit_once('/')?;
        let of_rows = LogType::ALL.into_iter().find(|log_type| log_type.table().name == table);
        let of_rejects = || reject::log_type(name).filter(|_| table == reject::TABLE);
        self.layout.parse(of_rows.or_else(of_rejects)?, directory)
    }

    /// Returns how partitions become directories.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns what all of its runs redact.
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

    /// Creates a file of the state whose content no other run would write, and tells whose it is.
    ///
    /// # Errors
    ///
    /// Fails if the outcome is unknown; the file can still appear. Fails like [`Self::confirm`], so that a run creates no
    /// new state where the dataset was deleted.
    pub fn create(&self, key: &str, bytes: &[u8]) -> Result<Owner, DatasetError> {
        self.confirm()?;
        if !self.conditional_creates
            && let Some(found) = self.target.get(key)?
            && found != bytes
        {
            return Ok(Owner::Theirs(found));
        }
        Ok(create_surely(&*self.target, key, bytes, self.patience)?)
    }

    /// Creates a file like [`Self::create`], but one that may be lost when the machine fails.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::create`].
    pub fn create_lightly(&self, key: &str, bytes: &[u8]) -> Result<Owner, DatasetError> {
        self.confirm()?;
        let create = || self.target.create_lightly(key, bytes);
        Ok(create_surely_by(create, &*self.target, key, bytes, self.patience)?)
    }

    /// Returns what `dataset.json` says, if it is there.
    fn description(&self) -> Result<Option<Description>, DatasetError> {
        let Some(text) = self.target.get(DESCRIPTION)? else { return Ok(None) };
        let state = |source| DatasetError::State { name: self.target.name(DESCRIPTION), source };
        let version: Version = serde_json::from_slice(&text).map_err(state)?;
        if !(PLAIN_VERSION..=REDACTED_VERSION).contains(&version.format_version) {
            return Err(DatasetError::Version(version.format_version));
        }
        Ok(Some(serde_json::from_slice(&text).map_err(state)?))
    }

    /// Writes the description unless another run does, and returns what it says then.
    fn begin(&self, single_writer: bool) -> Result<Description, DatasetError> {
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
        create_surely(&*self.target, DESCRIPTION, &text, self.patience)?;
        self.description()?.ok_or_else(|| DatasetError::Missing(self.target.name("")))
    }

    /// Refuses a dataset without a description whose files have another layout: the files of its partitions would be
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

    /// Finds out whether of those who create a file at once exactly one is told so.
    ///
    /// That is evidence, not proof; but stores that ignore the condition fail at once.
    fn probe(&self) -> Result<bool, DatasetError> {
        let (mut conditional, mut won, mut failed) = (true, false, None);
        for probe in 0..PROBES {
            let key = format!("{STAGING}/{}-probe-{probe}", self.run);
            let content = |racer: usize| format!("{}-{racer}", self.run).into_bytes();
            let racers = AtomicUsize::new(0);
            let created = on_threads(RACERS, || {
                let racer = racers.fetch_add(1, Ordering::Relaxed);
                (racer, self.target.create_lightly(&key, &content(racer)))
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
            // Who won may have been told otherwise, if the answer was lost on its way.
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
