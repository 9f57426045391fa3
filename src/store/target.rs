//! Targets: the operations that a dataset needs from its storage, and the files that are being written.
//!
//! A file is first *staged*: written where no reader sees it. Completing the file makes all of it visible atomically.
//! Any run that knows the [`Staged`] name of a file can complete or abort it. Both operations are idempotent.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::explain::{self, Cause, Refusal, summarize};
use crate::store::file_key::{FileKey, FileName};
use crate::util::hash::hex;

/// The storage backend of a dataset. Keys are relative to the dataset, with components separated by `/`.
pub trait Target: fmt::Debug + Send + Sync {
    /// Returns the path or URL of a key, for messages.
    fn name(&self, key: &str) -> String;

    /// Returns whether the target is accessed over the network.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns whether the store has separate requests for starting and aborting an upload. In other stores, the first
    /// part starts the upload.
    fn begins_uploads(&self) -> bool {
        true
    }

    /// Returns the number of files to read concurrently.
    fn reads_at_once(&self) -> usize {
        1
    }

    /// Reads a whole file. Returns `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or when it is unknown whether it exists.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TargetError>;

    /// Reads a range of bytes of a file.
    ///
    /// # Errors
    ///
    /// Fails when the file does not exist, is shorter than the end of the range, or cannot be read.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<bytes::Bytes, TargetError>;

    /// Returns the size of a file in bytes. Returns `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the file exists.
    fn size(&self, key: &str) -> Result<Option<u64>, TargetError>;

    /// Lists all files below a directory, in any order. The listing can omit recently written files.
    ///
    /// # Errors
    ///
    /// Fails when the directory cannot be listed. A directory that does not exist is treated as empty.
    fn list(&self, directory: &str) -> Result<Vec<Stored>, TargetError>;

    /// Creates a file if it does not exist. If several runs create the file at the same time, only one gets
    /// [`Created::Now`].
    ///
    /// After [`Created::Before`] or an error, it is unknown who created the file and even whether it exists; see
    /// [`create_confirmed`].
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written, or when it is unknown whether it was written.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError>;

    /// Creates a file like [`Self::create`] but does not make it durable: it may be lost if the machine fails.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::create`].
    fn create_non_durable(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError> {
        self.create(key, bytes)
    }

    /// Syncs a file that [`Self::get`] returned, to make it durable.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the file is durable.
    fn sync(&self, key: &str) -> Result<(), TargetError>;

    /// Deletes a file, if it exists.
    ///
    /// # Errors
    ///
    /// Fails when the file may still exist.
    fn delete(&self, key: &str) -> Result<(), TargetError>;

    /// Starts staging the file with this key.
    ///
    /// # Errors
    ///
    /// Fails when the target cannot be written to.
    fn stage(&self, key: &FileKey) -> Result<Box<dyn Stage>, TargetError>;

    /// Makes a staged file visible, unless another run already has.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the file is visible.
    fn complete(&self, file: &StagedFile) -> Result<Completed, TargetError>;

    /// Ensures that a staged file never becomes visible, unless it is already visible. Also succeeds if the staged file
    /// no longer exists.
    ///
    /// # Errors
    ///
    /// Fails when another run might still complete the file.
    fn abort(&self, staged: &Staged) -> Result<(), TargetError>;

    /// Aborts and forgets a staged file that no claim names, so that no other run completes it. A store that cannot
    /// abort uploads deletes the upload later.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::abort`]. In that case, the note about the file is kept.
    fn discard(&self, staged: &Staged) -> Result<(), TargetError> {
        match self.abort(staged) {
            Ok(()) | Err(TargetError::NoAbort { .. }) => {
                self.forget(staged);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lists the staged files of all runs.
    ///
    /// # Errors
    ///
    /// Fails when the staged files cannot be listed.
    fn staged(&self) -> Result<Vec<Leftover>, TargetError>;

    /// Deletes the note about a staged file that is now visible or aborted, if the note exists. The request may continue
    /// in the background.
    fn forget(&self, staged: &Staged);

    /// Waits until no requests continue in the background.
    fn wait(&self) {}
}

/// A file in the listing of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Key of the file.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
}

/// A staged file or upload in a listing.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// Key of the staged file, or of the note about the upload.
    pub key: String,
    /// Name of the staged file. `None` if it is invalid.
    pub staged: Option<Staged>,
    /// Size in bytes, or 0 if unknown.
    pub size: u64,
    /// Time of the last change to the file, or of the start of the upload.
    pub modified: SystemTime,
}

/// Result of creating a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// This call created the file.
    Now,
    /// The store reports that the file exists: another run or an earlier attempt created it. If the file does not exist
    /// after all, the call must be repeated.
    Before,
}

/// Result of completing a staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// The file is visible.
    Visible,
    /// The file is neither visible nor staged.
    Lost,
}

/// The name of a staged file. Any run that knows it can complete or abort the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staged {
    /// A file in the dataset's staging directory.
    File(FileName),
    /// An incomplete multipart upload.
    Upload {
        /// Key of the file.
        key: FileKey,
        /// ID of the upload.
        id: String,
        /// IDs of the parts, in order.
        parts: Vec<String>,
    },
}

/// A fully staged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Key under which the file becomes visible.
    pub key: FileKey,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: String,
    /// Name of the file until it becomes visible.
    pub staged: Staged,
}

/// A file that is being staged in a target.
pub trait Stage: Write + Send {
    /// Returns the name of the staged file. The name of an upload lists the parts written so far.
    fn staged(&self) -> Staged;

    /// Waits until all written bytes are durable.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether all bytes are durable.
    fn seal(&mut self) -> Result<(), TargetError>;
}

/// A staged file that is being written. On drop, it is aborted unless it was sealed and kept.
pub struct Writing {
    target: Arc<dyn Target>,
    key: FileKey,
    stage: Box<dyn Stage>,
    hash: Sha256,
    size: u64,
    kept: bool,
}

impl Writing {
    /// Starts writing the file with this key.
    ///
    /// # Errors
    ///
    /// Fails when the target cannot be written to.
    pub fn begin(target: &Arc<dyn Target>, key: FileKey) -> Result<Self, TargetError> {
        let stage = target.stage(&key)?;
        let target = Arc::clone(target);
        Ok(Self { target, key, stage, hash: Sha256::new(), size: 0, kept: false })
    }

    /// Returns the path or URL of the completed file, for messages.
    pub fn name(&self) -> String {
        self.target.name(&self.key)
    }

    /// Waits until the whole file is durably staged, and returns its description.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn seal(&mut self) -> Result<StagedFile, TargetError> {
        self.stage.seal()?;
        Ok(StagedFile {
            key: self.key.clone(),
            size: self.size,
            sha256: hex(&self.hash.clone().finalize()),
            staged: self.stage.staged(),
        })
    }

    /// Keeps the staged file, so that any run that knows its name can complete it.
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
            // If this fails, `clean` removes the file. Until then, no reader sees it.
            let _ = self.target.discard(&self.stage.staged());
        }
    }
}

/// Why a dataset file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file system or the store refuses to read or write a file.
    #[error("{name} is not {}: {}", .access, .refusal.why)]
    Refused {
        /// Path or URL of the file.
        name: String,
        /// The refused operation.
        access: Access,
        /// The reason.
        refusal: Refusal,
    },
    /// An operation on a local disk failed.
    #[error("{name} cannot be read or written")]
    Io {
        /// Path of the file.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// A request to an object store failed.
    #[error("{name} cannot be read or written: {}", summarize(.error))]
    Store {
        /// URL of the file.
        name: String,
        /// The reason.
        error: object_store::Error,
    },
    /// The response to a listing is invalid.
    #[error("{name} cannot be listed: {problem}")]
    Listing {
        /// URL of the listed directory.
        name: String,
        /// The reason.
        problem: String,
    },
    /// A file differs in size from the staged file.
    #[error("{name} has {found} bytes instead of {expected}: it was not written by this program")]
    Foreign {
        /// Path or URL of the file.
        name: String,
        /// Actual size in bytes.
        found: u64,
        /// Expected size in bytes.
        expected: u64,
    },
    /// The store cannot abort an upload.
    #[error(
        "{name}: this store cannot abort uploads, so another run might still complete this one"
    )]
    NoAbort {
        /// Path or URL of the file.
        name: String,
    },
    /// It is unknown whether a file was created.
    #[error(
        "{name}: it is unknown whether the file was written. Nothing was deleted; run the same command again"
    )]
    Unknown {
        /// Path or URL of the file.
        name: String,
        /// The last error, if any.
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
    /// Returns the error for a file on a local disk.
    pub(super) fn of_disk(name: String, access: Access, source: io::Error) -> Self {
        match Refusal::of_disk(&source) {
            Some(refusal) => Self::Refused { name, access, refusal },
            None => Self::Io { name, source },
        }
    }

    /// Returns the error for a file in an object store.
    pub(super) fn of_store(name: String, access: Access, error: object_store::Error) -> Self {
        match Refusal::of_store(&error) {
            Some(refusal) => Self::Refused { name, access, refusal },
            None => Self::Store { name, error },
        }
    }

    /// Returns the cause of the error, if the user can fix it.
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

    /// Returns the [`TargetError`] that caused an error in a [`Writing`].
    ///
    /// # Errors
    ///
    /// Returns the error unchanged if it is an error of a disk that is not a refusal.
    pub fn of_writing(name: &str, error: io::Error) -> Result<Self, io::Error> {
        let error = match error.downcast() {
            Ok(error) => return Ok(error),
            Err(error) => error,
        };
        let (name, access) = (name.to_owned(), Access::Write);
        let refusal = Refusal::of_disk(&error);
        refusal.map(|refusal| Self::Refused { name, access, refusal }).ok_or(error)
    }
}

/// Who created a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    /// This call.
    Ours,
    /// Another run, which wrote this content.
    Theirs(Vec<u8>),
}

/// Creates a file and determines who created it, regardless of how the store responds.
///
/// A create can succeed even if the response is an error; a retry then finds the file that the first attempt created. A
/// store can also report a conflict even though the file does not exist. So the file is read back, and only different
/// content proves that another run created it. The content must be unique to the caller.
///
/// # Errors
///
/// Fails when the creator is still unknown after all attempts that `patience` allows. In that case, the file may still
/// appear.
pub fn create_confirmed(
    target: &dyn Target,
    key: &str,
    bytes: &[u8],
    patience: Patience,
) -> Result<Owner, TargetError> {
    create_confirmed_by(|| target.create(key, bytes), target, key, bytes, patience)
}

/// Creates a file like [`create_confirmed`], but by calling `create`.
///
/// # Errors
///
/// Fails like [`create_confirmed`].
pub(crate) fn create_confirmed_by(
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
            // After an error, do not read the file back: the file must also be durable, which only a successful create
            // ensures.
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

/// How often to retry a create whose outcome is unknown, and how long to pause between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Maximum number of attempts.
    pub attempts: u32,
    /// Pause before the second attempt. The pause doubles before each further attempt.
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
