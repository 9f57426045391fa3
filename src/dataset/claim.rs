//! A claim records which objects its outputs contain. A claim succeeds if and only if its log entry, a single file, is
//! created.
//!
//! Each partition has a log of numbered entries: `1.claim.json`, `2.claim.json` and so on. Creating an entry fails if
//! its number is already taken. An entry adds objects, removes all earlier entries, amends earlier entries with new
//! facts about their objects, or replaces files in Iceberg tables with a larger one. An entry that adds objects names the
//! outputs that contain them, and the outputs' staged files. Any run that reads an entry can apply it.
//! `<number>.done.json` marks an entry as applied, and `<number>.aborted.json` marks it as aborted.

mod amend;
pub(crate) mod embedded;
mod log;
mod record;
mod rewrite;

pub use crate::dataset::claim::amend::Amended;
pub(crate) use crate::dataset::claim::amend::{Amendment, Amendments, retired_key};
pub(crate) use crate::dataset::claim::log::Appended;
pub use crate::dataset::claim::log::{Hints, Log, State};
pub(crate) use crate::dataset::claim::record::Removal;
pub use crate::dataset::claim::record::{Claim, Claimed, Output, Record};
pub use crate::dataset::claim::rewrite::Rewrite;
pub(crate) use crate::dataset::claim::rewrite::{TableFile, TableFiles};
