//! Stores: sources that objects are listed in and read from, and targets that keep a dataset. The
//! only module that knows async.

mod bucket;
mod calls;
mod client;
mod credentials;
mod disk;
mod endpoint;
mod explain;
mod file_key;
mod lister;
mod network;
mod open;
mod listing_page;
mod place;
mod raw;
mod read;
mod source;
mod target;
mod text_file;
mod tree;
mod url;
mod waits;

use std::io;

use crate::store::explain::{describe, is_archived, plainly};

pub use crate::store::bucket::Bucket;
pub(crate) use crate::store::bucket::PART_BYTES;
pub use crate::store::calls::Calls;
pub use crate::store::disk::Disk;
pub(crate) use crate::store::explain::Cause;
pub use crate::store::file_key::{FileKey, FileName};
pub(crate) use crate::store::lister::{Look, PAGE_FILES};
pub use crate::store::listing_page::MAX_SIZE;
#[doc(hidden)]
pub use crate::store::listing_page::parse_page;
pub use crate::store::network::Network;
pub(crate) use crate::store::network::Traffic;
pub(crate) use crate::store::open::regular as open_regular;
pub(crate) use crate::store::place::Prefix;
pub use crate::store::place::{Kind, Place, split};
pub(crate) use crate::store::read::{Fetch, READ_BYTES};
pub use crate::store::source::Source;
pub(crate) use crate::store::source::{Listed, Named};
pub(crate) use crate::store::target::create_surely_by;
pub use crate::store::target::{
    Completed, Created, Leftover, Owner, Patience, Stage, Staged, StagedFile, Stored, Target,
    TargetError, Writing, create_surely,
};
#[doc(hidden)]
pub use crate::store::text_file::decompressed;
pub(crate) use crate::store::text_file::{Lines, open_text};
pub use crate::store::url::{Web, decoded, has_secret, meant};
pub(crate) use crate::store::waits::Wait;

/// A store cannot be reached, or one of its objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A URL is of a kind that this program does not know.
    #[error(
        "{0}: use a local path, or a URL that begins with s3://, gs://, az://, abfss:// or file://"
    )]
    Unsupported(String),
    /// A path or URL is empty.
    #[error("the path is empty: specify a directory, or a URL such as s3://bucket/prefix")]
    Empty,
    /// A URL contains a password, a key or a signature. The error does not repeat it.
    #[error(
        "{0} with credentials in it (not shown here): remove them, and pass them in the environment instead, \
         as AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_SAS_KEY, or \
         GOOGLE_APPLICATION_CREDENTIALS"
    )]
    Secret(&'static str),
    /// It is a malformed URL.
    #[error("{name} is not a supported URL: write {meant}, or ./{name} for a local path")]
    Almost {
        /// The text that the user typed.
        name: String,
        /// The probable meaning.
        meant: String,
    },
    /// A bucket has no endpoint with these settings.
    #[error("{name}: {why}; see docs/endpoints.md")]
    Endpoint {
        /// The URL of the bucket.
        name: String,
        /// Why.
        why: String,
    },
    /// A URL names no bucket.
    #[error("{0} names no bucket: write it like s3://bucket/prefix")]
    NoBucket(String),
    /// A URL has a prefix that no key can have.
    #[error("{name} has a prefix that no key can have")]
    Prefix {
        /// The URL.
        name: String,
        /// Why.
        source: object_store::path::Error,
    },
    /// No store has such a setting.
    #[error(
        "no store has a setting {0}; see \
         https://docs.rs/object_store/0.14/object_store/aws/enum.AmazonS3ConfigKey.html and its like"
    )]
    Setting(String),
    /// A local path cannot be made absolute.
    #[error("{name} cannot be a path")]
    Path {
        /// The path.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The source is not there, or is not a directory.
    #[error("SOURCE {name} cannot be opened")]
    Open {
        /// The source as the user named it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A bucket cannot be reached.
    #[error("{name} cannot be listed: {}", plainly(.error))]
    Reach {
        /// Its URL.
        name: String,
        /// Why.
        error: object_store::Error,
    },
    /// A listing is invalid, or a local directory cannot be listed.
    #[error("{name} cannot be listed: {problem}")]
    Listing {
        /// Its URL or path.
        name: String,
        /// Why.
        problem: String,
    },
    /// An object is listed, but its key or path cannot be read.
    #[error("{name}: {problem}")]
    Unreadable {
        /// Its URL or path.
        name: String,
        /// Why.
        problem: String,
    },
    /// An object that was named cannot be found.
    #[error("{name}: {}", unfound(.error))]
    Find {
        /// Its URL.
        name: String,
        /// Why.
        error: object_store::Error,
    },
    /// Something else.
    #[error("{}", plainly(.0))]
    Store(object_store::Error),
    /// Fewer bytes were read of an object than were listed.
    #[error(
        "{read} of {listed} bytes were read: the store or the file system returns less than it listed"
    )]
    Short {
        /// Bytes up to the end of what was read.
        read: u64,
        /// Size in the listing.
        listed: u64,
    },
    /// More bytes were read of an object than were listed.
    #[error("more bytes were read than the {listed} that were listed: it is another object")]
    Long {
        /// Size in the listing.
        listed: u64,
    },
    /// The object's content cannot be read.
    #[error("cannot be read: {}", describe(.0))]
    Read(#[source] io::Error),
}

/// Describes why an object cannot be found by its name.
fn unfound(error: &object_store::Error) -> String {
    match error {
        object_store::Error::NotFound { .. } => "does not exist".to_owned(),
        error => plainly(error),
    }
}

impl StoreError {
    /// Returns why there is no access, if the user can change it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Reach { error, .. } | Self::Find { error, .. } | Self::Store(error) => {
                explain::cause(error)
            }
            _ => None,
        }
    }

    /// Returns whether an object that was named does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Find { error: object_store::Error::NotFound { .. }, .. })
    }

    /// Tells whether an object must be restored from an archive before it can be read.
    pub fn is_archived(&self) -> bool {
        matches!(self, Self::Store(error) if is_archived(error))
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        // Readers of objects pass on the errors of stores.
        error.downcast().unwrap_or_else(Self::Read)
    }
}
