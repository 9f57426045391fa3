//! Stores: sources, which list and read objects, and targets, which contain a dataset. This is the only module with
//! async code.

#[cfg(feature = "iceberg")]
mod api;
#[cfg(feature = "iceberg")]
mod api_client;
mod bucket;
mod bulk_delete;
mod calls;
mod client;
mod credentials;
mod disk;
mod endpoint;
mod explain;
mod file_key;
mod limiter;
mod lister;
mod network;
mod notes;
#[cfg(feature = "iceberg")]
mod oauth2;
mod open;
mod listing_page;
mod place;
mod raw;
mod read;
#[cfg(feature = "iceberg")]
mod secret;
mod source;
mod target;
mod text_file;
mod tree;
mod url;
mod waits;
mod xml;

use std::io;

use crate::store::explain::{describe, is_archived, summarize};

#[cfg(feature = "iceberg")]
pub(crate) use crate::store::api::{Access, Answer, Api, ApiError};
pub use crate::store::bucket::Bucket;
pub(crate) use crate::store::bucket::PART_BYTES;
pub use crate::store::calls::Calls;
pub use crate::store::disk::Disk;
pub(crate) use crate::store::explain::Cause;
pub use crate::store::file_key::{FileKey, FileName};
pub(crate) use crate::store::limiter::{Lane, Limiter};
pub(crate) use crate::store::lister::{Look, PAGE_FILES};
pub use crate::store::listing_page::MAX_SIZE;
#[doc(hidden)]
pub use crate::store::listing_page::parse_page;
pub use crate::store::network::Network;
pub(crate) use crate::store::network::Traffic;
#[cfg(feature = "iceberg")]
pub(crate) use crate::store::oauth2::{Grant, is_token};
pub(crate) use crate::store::open::regular as open_regular;
pub(crate) use crate::store::place::Prefix;
pub use crate::store::place::{Kind, Place, split};
pub(crate) use crate::store::read::{Fetch, READ_BYTES};
#[cfg(feature = "iceberg")]
pub(crate) use crate::store::secret::Secret;
pub use crate::store::source::Source;
pub(crate) use crate::store::source::{Current, Deletion, Listed, Named, Step};
pub(crate) use crate::store::target::create_confirmed_by;
pub use crate::store::target::{
    Completed, Created, Leftover, Owner, Patience, Stage, Staged, StagedFile, Stored, Target,
    TargetError, Writing, create_confirmed,
};
#[doc(hidden)]
pub use crate::store::text_file::decompressed;
pub(crate) use crate::store::text_file::{Lines, open_text};
#[cfg(feature = "iceberg")]
pub(crate) use crate::store::url::{UNRESERVED, aws_service, is_exposed};
pub use crate::store::url::{Web, decoded, has_secret, meant};
pub(crate) use crate::store::waits::Wait;

/// Why a store cannot be reached or an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The scheme of a URL is not supported.
    #[error(
        "{0}: use a local path, or a URL that begins with s3://, gs://, az://, abfss:// or file://"
    )]
    Unsupported(String),
    /// A path or URL is empty.
    #[error("the path is empty: specify a directory, or a URL such as s3://bucket/prefix")]
    Empty,
    /// A URL contains a password, a key or a signature. The message omits the secret.
    #[error(
        "{0} contains credentials (not shown here): remove them, and pass them in the environment instead, \
         as AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_SAS_KEY, or \
         GOOGLE_APPLICATION_CREDENTIALS"
    )]
    Secret(&'static str),
    /// A URL is malformed.
    #[error("{name} is not a supported URL: write {meant}, or ./{name} for a local path")]
    Almost {
        /// The text as the user typed it.
        name: String,
        /// The probable meaning.
        meant: String,
    },
    /// No endpoint exists for the bucket with these settings.
    #[error("{name}: {why}; see docs/endpoints.md")]
    Endpoint {
        /// The URL of the bucket.
        name: String,
        /// The reason.
        why: String,
    },
    /// A URL has no valid bucket name.
    #[error("{0} has no valid bucket name: use the form s3://bucket/prefix")]
    NoBucket(String),
    /// The prefix of a URL is invalid.
    #[error("{name} has an invalid prefix")]
    Prefix {
        /// The URL.
        name: String,
        /// The reason.
        source: object_store::path::Error,
    },
    /// No kind of store has a setting with this name.
    #[error(
        "unknown setting {0}; see \
         https://docs.rs/object_store/0.14/object_store/aws/enum.AmazonS3ConfigKey.html and the corresponding \
         pages for Azure and Google Cloud"
    )]
    Setting(String),
    /// A local path cannot be converted to an absolute path.
    #[error("{name} cannot be made an absolute path")]
    Path {
        /// The path.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// A source cannot be opened, for example because the directory does not exist.
    #[error("SOURCE {name} cannot be opened")]
    Open {
        /// The source, as the user specified it.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// A bucket cannot be reached.
    #[error("{name} cannot be listed: {}", summarize(.error))]
    Reach {
        /// URL of the bucket.
        name: String,
        /// The reason.
        error: object_store::Error,
    },
    /// A listing is invalid, or a local directory cannot be listed.
    #[error("{name} cannot be listed: {problem}")]
    Listing {
        /// URL or path.
        name: String,
        /// The reason.
        problem: String,
    },
    /// A listed object cannot be read because of its key or path.
    #[error("{name}: {problem}")]
    Unreadable {
        /// URL or path of the object.
        name: String,
        /// The reason.
        problem: String,
    },
    /// An object that was requested by name cannot be found.
    #[error("{name}: {}", not_found(.error))]
    Find {
        /// URL of the object.
        name: String,
        /// The reason.
        error: object_store::Error,
    },
    /// Any other store error.
    #[error("{}", summarize(.0))]
    Store(object_store::Error),
    /// An object is shorter than its listed size.
    #[error(
        "{read} of {listed} bytes were read: the store or the file system returns less than it listed"
    )]
    Short {
        /// Byte offset at which reading ended.
        read: u64,
        /// Size in the listing, in bytes.
        listed: u64,
    },
    /// An object is longer than its listed size.
    #[error("more than the listed {listed} bytes were read: it is another object")]
    Long {
        /// Size in the listing, in bytes.
        listed: u64,
    },
    /// The content of an object cannot be read.
    #[error("cannot be read: {}", describe(.0))]
    Read(#[source] io::Error),
}

/// Describes why an object was not found.
fn not_found(error: &object_store::Error) -> String {
    match error {
        object_store::Error::NotFound { .. } => "does not exist".to_owned(),
        error => summarize(error),
    }
}

impl StoreError {
    /// Returns the cause of the error, if the user can fix it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Reach { error, .. } | Self::Find { error, .. } | Self::Store(error) => {
                explain::cause(error)
            }
            _ => None,
        }
    }

    /// Returns whether an object that was requested by name does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Find { error: object_store::Error::NotFound { .. }, .. })
    }

    /// Returns whether the object is archived and must be restored before it can be read.
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
        // Object readers wrap store errors in I/O errors.
        error.downcast().unwrap_or_else(Self::Read)
    }
}
