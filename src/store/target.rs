//! Targets: what a dataset asks of the place that keeps it, and files while they are written there.
//!
//! A file is first *staged*: written where no reader looks. Completing it makes it visible, at once and
//! whole, and anyone who knows its [`Staged`] name can complete or abort it, any number of times.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::StoreError;
use crate::store::explain::{self, Cause, Refusal, plainly};
use crate::store::file_key::{FileKey, FileName};
use crate::util::hash::hex;

/// A place that a dataset is kept in. Keys are relative to the dataset, with `/` between their parts.
pub trait Target: fmt::Debug + Send + Sync {
    /// Returns the path or URL of a key, for messages.
    fn name(&self, key: &str) -> String;

    /// Tells whether it takes requests to reach it.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns whether requests begin and abort an upload. In other stores, the first part begins it.
    fn begins_uploads(&self) -> bool {
        true
    }

    /// Returns how many files are best read at once.
    fn reads_at_once(&self) -> usize {
        1
    }

    /// Reads a whole file; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be told.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TargetError>;

    /// Reads a part of a file.
    ///
    /// # Errors
    ///
    /// Fails when the file is not there, is shorter, or cannot be read.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<bytes::Bytes, TargetError>;

    /// Returns the size of a file in bytes; `None` when there is none.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be told.
    fn size(&self, key: &str) -> Result<Option<u64>, TargetError>;

    /// Lists all files below a directory, in any order. What was written just now may be missing.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be listed. A directory that is not there is empty.
    fn list(&self, directory: &str) -> Result<Vec<Stored>, TargetError>;

    /// Writes a file unless there is one of that name: of all who try, one is told [`Created::Now`].
    ///
    /// After [`Created::Before`] or an error it is open who wrote the file, if anybody did; see
    /// [`create_surely`].
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written, or when it is not known whether it was.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError>;

    /// Writes a file like [`Self::create`], but one that may be lost when the machine fails.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::create`].
    fn create_lightly(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError> {
        self.create(key, bytes)
    }

    /// Waits until a file that was found by [`Self::get`] outlasts a failure of the machine.
    ///
    /// # Errors
    ///
    /// Fails when that is not sure.
    fn settle(&self, key: &str) -> Result<(), TargetError>;

    /// Deletes a file; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// Fails when it may still be there.
    fn delete(&self, key: &str) -> Result<(), TargetError>;

    /// Begins to stage the file of a key.
    ///
    /// # Errors
    ///
    /// Fails when nothing can be written.
    fn stage(&self, key: &FileKey) -> Result<Box<dyn Stage>, TargetError>;

    /// Makes a staged file visible, or finds that somebody did.
    ///
    /// # Errors
    ///
    /// Fails when it is not known whether the file is visible.
    fn complete(&self, file: &StagedFile) -> Result<Completed, TargetError>;

    /// Sees to it that a staged file will never become visible unless it already is. Staged files that
    /// are gone are no error.
    ///
    /// # Errors
    ///
    /// Fails when somebody might still complete it.
    fn abort(&self, staged: &Staged) -> Result<(), TargetError>;

    /// Aborts and forgets a staged file that no claim names, so that no other run completes it. A store that cannot
    /// abort uploads deletes it later.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::abort`], and then keeps the note of it.
    fn discard(&self, staged: &Staged) -> Result<(), TargetError> {
        match self.abort(staged) {
            Ok(()) | Err(TargetError::NoAbort { .. }) => {
                self.forget(staged);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lists what is staged, whoever staged it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be listed.
    fn staged(&self) -> Result<Vec<Leftover>, TargetError>;

    /// Forgets that a file was staged, once it is visible or aborted.
    fn forget(&self, staged: &Staged);
}

/// A file of a target, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Something staged, as a listing shows it.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// Key of the file that says so.
    pub key: String,
    /// What was staged; `None` when that cannot be told.
    pub staged: Option<Staged>,
    /// Bytes that it takes up, as far as they are known.
    pub size: u64,
    /// When it was last written, or begun.
    pub modified: SystemTime,
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// This call.
    Now,
    /// Somebody before, which can be an earlier attempt; or nobody, and the call is to be repeated.
    Before,
}

/// What became of a staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// It is visible.
    Visible,
    /// It is neither visible nor staged any more.
    Lost,
}

/// The name by which anyone completes or aborts a staged file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staged {
    /// A file in the dataset's staging directory.
    File(FileName),
    /// A multipart upload that is not completed.
    Upload {
        /// The key it is for.
        key: FileKey,
        /// The store's name of it.
        id: String,
        /// The store's names of its parts, in order.
        parts: Vec<String>,
    },
}

/// A file that is staged whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The key under which it becomes visible.
    pub key: FileKey,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Where it is until then.
    pub staged: Staged,
}

/// A file of a target while it is staged.
pub trait Stage: Write + Send {
    /// Returns its name as far as it stands.
    fn staged(&self) -> Staged;

    /// Waits until all that was written is there to stay.
    ///
    /// # Errors
    ///
    /// Fails when it is not.
    fn seal(&mut self) -> Result<(), TargetError>;
}

/// A file being written that nobody sees. Unless it is sealed and kept, it is aborted when dropped.
pub struct Writing {
    target: Arc<dyn Target>,
    key: FileKey,
    stage: Box<dyn Stage>,
    hash: Sha256,
    size: u64,
    kept: bool,
}

impl Writing {
    /// Begins the file of a key.
    ///
    /// # Errors
    ///
    /// Fails when nothing can be written.
    pub fn begin(target: &Arc<dyn Target>, key: FileKey) -> Result<Self, TargetError> {
        let stage = target.stage(&key)?;
        let target = Arc::clone(target);
        Ok(Self { target, key, stage, hash: Sha256::new(), size: 0, kept: false })
    }

    /// Returns the path or URL that the file is to have, for messages.
    pub fn name(&self) -> String {
        self.target.name(&self.key)
    }

    /// Waits until the whole file is staged, and describes it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be written.
    pub fn seal(&mut self) -> Result<StagedFile, TargetError> {
        self.stage.seal()?;
        Ok(StagedFile {
            key: self.key.clone(),
            size: self.size,
            sha256: hex(&self.hash.clone().finalize()),
            staged: self.stage.staged(),
        })
    }

    /// Leaves the staged file to whoever knows its name.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stage.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stage.flush()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed stays where no reader looks; `clean` finds it.
            let _ = self.target.discard(&self.stage.staged());
        }
    }
}

/// A file of a dataset cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file system or the store refuses to read or write a file.
    #[error("{name} is not {}: {}", .access, .refusal.why)]
    Refused {
        /// Its path or URL.
        name: String,
        /// The refused operation.
        access: Access,
        /// The reason.
        refusal: Refusal,
    },
    /// On a local disk.
    #[error("{name} cannot be read or written")]
    Io {
        /// Its path.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// In an object store.
    #[error("{name} cannot be read or written: {}", plainly(.error))]
    Store {
        /// Its URL.
        name: String,
        /// Why.
        error: object_store::Error,
    },
    /// The response to a listing is invalid.
    #[error("{name} cannot be listed: {problem}")]
    Listing {
        /// Its URL.
        name: String,
        /// Why.
        problem: String,
    },
    /// A file stands where another was staged for.
    #[error("{name} has {found} bytes instead of {expected}: it was not written by this program")]
    Foreign {
        /// Its path or URL.
        name: String,
        /// Its size in bytes.
        found: u64,
        /// The size it should have.
        expected: u64,
    },
    /// The store cannot take back an upload that was begun.
    #[error("{name}: this store cannot abort uploads, so that somebody might still complete it")]
    NoAbort {
        /// The path or URL it is for.
        name: String,
    },
    /// A file could neither be created nor be found.
    #[error(
        "{name}: it is not known whether it was written. Nothing was deleted; run the same command again"
    )]
    Unknown {
        /// Its path or URL.
        name: String,
        /// The last error, if there was one.
        source: Option<Box<TargetError>>,
    },
}

/// An operation on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing or deleting.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "readable",
            Self::Write => "writable",
        })
    }
}

impl TargetError {
    /// Returns the error of a file on a local disk.
    pub(super) fn of_disk(name: String, access: Access, source: io::Error) -> Self {
        match Refusal::of_disk(&source) {
            Some(refusal) => Self::Refused { name, access, refusal },
            None => Self::Io { name, source },
        }
    }

    /// Returns the error of a file in an object store.
    pub(super) fn of_store(name: String, access: Access, error: object_store::Error) -> Self {
        match Refusal::of_store(&error) {
            Some(refusal) => Self::Refused { name, access, refusal },
            None => Self::Store { name, error },
        }
    }

    /// Returns why there is no access, if the user can change it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.cause.clone()),
            Self::Store { error, .. } => explain::cause(error),
            Self::Unknown { source, .. } => source.as_ref()?.cause(),
            Self::Io { .. }
            | Self::Listing { .. }
            | Self::Foreign { .. }
            | Self::NoAbort { .. } => None,
        }
    }

    /// Returns the refusal that caused an error of a [`Writing`].
    ///
    /// # Errors
    ///
    /// Returns the error unchanged if a refusal did not cause it.
    pub fn of_writing(name: &str, error: io::Error) -> Result<Self, io::Error> {
        let refusal = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(StoreError::Store(error)) => Refusal::of_store(error),
            _ => Refusal::of_disk(&error),
        };
        let (name, access) = (name.to_owned(), Access::Write);
        refusal.map(|refusal| Self::Refused { name, access, refusal }).ok_or(error)
    }
}

/// Whose content a name has.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    /// What this call was to write.
    Ours,
    /// Something else, which is this.
    Theirs(Vec<u8>),
}

/// Creates a file and makes sure whose it is, whatever the store answers.
///
/// An attempt that landed can be answered with an error, and then its repetition finds its own file; a
/// conflict can be answered as if the file were there. So the file is read back, and no answer but the
/// file itself counts as somebody else's. The content must be unique to the caller.
///
/// # Errors
///
/// Fails when the answer cannot be found out in `patience` attempts. The file can still appear.
pub fn create_surely(
    target: &dyn Target,
    key: &str,
    bytes: &[u8],
    patience: Patience,
) -> Result<Owner, TargetError> {
    create_surely_by(|| target.create(key, bytes), target, key, bytes, patience)
}

/// Creates a file like [`create_surely`], by this way to create it.
///
/// # Errors
///
/// Fails like [`create_surely`].
pub(crate) fn create_surely_by(
    create: impl Fn() -> Result<Created, TargetError>,
    target: &dyn Target,
    key: &str,
    bytes: &[u8],
    patience: Patience,
) -> Result<Owner, TargetError> {
    let mut last = None;
    for attempt in 0..patience.attempts {
        patience.wait(attempt);
        match create() {
            Ok(Created::Now) => return Ok(Owner::Ours),
            // An error of `create` is no reason to read back: a file that is found by its own
            // creator must also be there to stay, which only an undisturbed attempt makes sure.
            Err(error) => last = Some(error),
            Ok(Created::Before) => match target.get(key) {
                Ok(Some(found)) if found == bytes => return Ok(Owner::Ours),
                Ok(Some(found)) => return Ok(Owner::Theirs(found)),
                Ok(None) => {}
                Err(error) => last = Some(error),
            },
        }
    }
    match last {
        Some(error @ TargetError::Refused { .. }) => Err(error),
        last => Err(TargetError::Unknown { name: target.name(key), source: last.map(Box::new) }),
    }
}

/// How often and how long an unknown outcome is looked into.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles before each further one.
    pub pause: std::time::Duration,
}

impl Patience {
    fn wait(self, attempt: u32) {
        if attempt > 0 && !self.pause.is_zero() {
            std::thread::sleep(self.pause * 2_u32.pow(attempt.min(8) - 1));
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 6, pause: std::time::Duration::from_millis(50) }
    }
}
