//! The dataset: where its files lie, and how they come to stand there.
//!
//! A file is written under `_alb2parquet/staging/`, outside every table, because Athena reads whatever
//! lies below a table's location. Only when it is whole and on disk is it renamed to its final name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::key::Partition;

const STATE: &str = "_alb2parquet";
const STAGING: &str = "staging";
const DESCRIPTION: &str = "dataset.json";
const FORMAT_VERSION: u32 = 1;

/// How partitions become directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `account=…/region=…/year=…/month=…/day=…`, which engines find by themselves.
    Hive,
    /// `ACCOUNT/REGION/yyyy/mm/dd`, as in the source.
    Plain,
}

/// What `dataset.json` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    format_version: u32,
    layout: Layout,
}

/// A dataset in a local directory.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    layout: Layout,
}

/// The dataset cannot be written, or must not be.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or directory of it cannot be written or read.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `dataset.json` is none.
    #[error("{} is not a description of a dataset", path.display())]
    Description {
        /// Where it stands.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The dataset was made by a version that lays it out otherwise.
    #[error(
        "the dataset has format version {0}, this program writes {FORMAT_VERSION}: use a newer version"
    )]
    Version(u32),
    /// The dataset was begun with another layout.
    #[error("the dataset was begun with --layout {}: use that, or another --out", name(*.0))]
    Layout(Layout),
    /// A partition holds files of other batches, whose rows would be there twice.
    #[error(
        "{} is not of this run: its partition was converted before from other objects or with other \
         settings, and its rows would be there twice. Remove the partition's directory, or use another --out",
        .0.display()
    )]
    Stranger(PathBuf),
}

fn name(layout: Layout) -> &'static str {
    match layout {
        Layout::Hive => "hive",
        Layout::Plain => "plain",
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DatasetError + '_ {
    move |source| DatasetError::Io { path: path.to_owned(), source }
}

impl Dataset {
    /// Opens the dataset in a directory, or begins it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be written or was begun differently.
    pub fn open(root: PathBuf, layout: Layout) -> Result<Self, DatasetError> {
        let staging = root.join(STATE).join(STAGING);
        fs::create_dir_all(&staging).map_err(at(&staging))?;
        let dataset = Self { root, layout };
        dataset.agree_on_description()?;
        Ok(dataset)
    }

    /// Writes the description if there is none, and otherwise compares.
    fn agree_on_description(&self) -> Result<(), DatasetError> {
        let path = self.root.join(STATE).join(DESCRIPTION);
        let ours = Description { format_version: FORMAT_VERSION, layout: self.layout };
        if !path.exists() {
            let staged = self.stage(&format!("{DESCRIPTION}.{}", std::process::id()))?;
            let mut text = serde_json::to_vec_pretty(&ours).expect("plain values");
            text.push(b'\n');
            staged.writer()?.write_all(&text).map_err(at(&path))?;
            staged.sync()?;
            // Unlike a rename, a link never replaces what another run has just put there.
            match fs::hard_link(&staged.path, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at(&path)(error));
                }
                _ => sync_dir(&self.root.join(STATE))?,
            }
        }
        let text = fs::read(&path).map_err(at(&path))?;
        let theirs: Description = serde_json::from_slice(&text)
            .map_err(|source| DatasetError::Description { path: path.clone(), source })?;
        if theirs.format_version != ours.format_version {
            return Err(DatasetError::Version(theirs.format_version));
        }
        if theirs.layout != ours.layout {
            return Err(DatasetError::Layout(theirs.layout));
        }
        Ok(())
    }

    /// Returns the directory of a partition of a table.
    pub fn partition(&self, table: &str, partition: &Partition) -> PathBuf {
        let Partition { account, region, day } = partition;
        let (year, month, day) = (day.year(), day.month(), day.day());
        let below = match self.layout {
            Layout::Hive => format!(
                "account={account}/region={region}/year={year:04}/month={month:02}/day={day:02}"
            ),
            Layout::Plain => format!("{account}/{region}/{year:04}/{month:02}/{day:02}"),
        };
        self.root.join(table).join(below)
    }

    /// Refuses a partition that holds data files other than those named.
    ///
    /// # Errors
    ///
    /// Fails when there is one, or the directory cannot be listed.
    pub fn refuse_strangers(
        &self,
        table: &str,
        partition: &Partition,
        names: &[String],
    ) -> Result<(), DatasetError> {
        let directory = self.partition(table, partition);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(at(&directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(at(&directory))?;
            if !names.iter().any(|name| entry.file_name() == name.as_str()) {
                return Err(DatasetError::Stranger(entry.path()));
            }
        }
        Ok(())
    }

    /// Begins a file that nobody sees yet.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be created.
    pub fn stage(&self, name: &str) -> Result<Staged, DatasetError> {
        let path = self.root.join(STATE).join(STAGING).join(name);
        let file = File::create(&path).map_err(at(&path))?;
        Ok(Staged { path, file, published: false })
    }

    /// Moves a staged file that is on disk to its final place: visible at once and whole.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be moved.
    pub fn publish(
        &self,
        mut staged: Staged,
        table: &str,
        partition: &Partition,
        name: &str,
    ) -> Result<(), DatasetError> {
        let directory = self.partition(table, partition);
        create_dir_synced(&directory)?;
        let path = directory.join(name);
        fs::rename(&staged.path, &path).map_err(at(&path))?;
        staged.published = true;
        sync_dir(&directory)
    }
}

/// A file that nobody sees yet. Unless it is published, it is removed when dropped.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Staged {
    /// Returns another handle of the file, to write to.
    ///
    /// # Errors
    ///
    /// Fails when the process may not open more files.
    pub fn writer(&self) -> Result<File, DatasetError> {
        self.file.try_clone().map_err(at(&self.path))
    }

    /// Returns where it is written, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is on disk and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be written there.
    pub fn sync(&self) -> Result<u64, DatasetError> {
        let length = || {
            self.file.sync_all()?;
            Ok(self.file.metadata()?.len())
        };
        length().map_err(at(&self.path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed stays in staging, where no reader looks.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates a directory and those above it, and waits until each is on disk.
fn create_dir_synced(path: &Path) -> Result<(), DatasetError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_synced(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(path)(error));
            }
            _ => sync_dir(parent)?,
        }
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<(), DatasetError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}
