//! Claims: which objects an output holds, decided by one write each.
//!
//! Each partition has a log of numbered entries, `1.claim.json`, `2.claim.json` and so on, each created only where
//! there is none of its number. An entry adds objects, by naming the outputs that hold them and where these are
//! staged, or takes back all entries before it. Whoever reads it can carry it out; `<number>.done.json` says that
//! somebody has, `<number>.aborted.json` that nobody can. An amendment adds facts about the objects of earlier entries.

mod amend;
pub(crate) mod embedded;
mod log;
mod record;

pub(crate) use crate::dataset::claim::amend::{Amended, Amendment, Amendments};
pub(crate) use crate::dataset::claim::log::{Appended, State};
pub use crate::dataset::claim::log::{Hints, Log};
pub(crate) use crate::dataset::claim::record::Removal;
pub use crate::dataset::claim::record::{Claim, Claimed, Output, Record};
