//! Profiles: the Parquet features that files use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The Parquet features that a file uses.
///
/// The files of one dataset can have different profiles. Columns and values are the same in all profiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// Features that every reader supports: PLAIN and dictionary encoding, no page index.
    Portable,
    /// Delta encodings and a page index, which some readers reject and others read incorrectly. Claims and datasets
    /// that do not specify a profile use this one.
    #[default]
    Compact,
}

impl Profile {
    /// Returns the name that the command line and state files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Compact => "compact",
        }
    }

    /// Returns whether this is [`Profile::Compact`], which state files omit.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
    pub(crate) fn is_compact(&self) -> bool {
        *self == Self::Compact
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
