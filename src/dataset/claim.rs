//! Claims: which objects an output holds. Creating one file decides each claim.
//!
//! Each partition has a log of numbered entries, `1.claim.json`, `2.claim.json` and so on. An entry is created only if
//! its number is not taken. It adds objects, by naming the outputs that hold them and their staged files, or removes
//! all entries before it. Any run that reads an entry can apply it. `<number>.done.json` marks it as applied, and
//! `<number>.aborted.json` as aborted. An amendment adds facts about the objects of earlier entries.

mod amend;
pub(crate) mod embedded;
mod log;
mod record;

pub(crate) use crate::dataset::claim::amend::{Amended, Amendment, Amendments};
pub(crate) use crate::dataset::claim::log::{Appended, State};
pub use crate::dataset::claim::log::{Hints, Log};
pub(crate) use crate::dataset::claim::record::Removal;
pub use crate::dataset::claim::record::{Claim, Claimed, Output, Record};
