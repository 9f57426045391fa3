//! Amendments: facts about a partition's objects that became known after their claim.
//!
//! An amendment takes effect as soon as its entry exists; there is nothing to apply. For each object, the amendment
//! names the claim that holds the object, so the amendment never affects a later conversion of the same object. The
//! amendment ends when that claim is removed or aborted.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::dataset::claim::{Claimed, Log, Record};

/// Adds facts about objects that earlier claims in the same log hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Amendment {
    /// Name of the run that created the amendment.
    pub run: String,
    /// The objects with their new facts.
    pub objects: Vec<Amended>,
}

/// A new fact about an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Amended {
    /// Number of the claim that holds the object.
    pub claim: usize,
    /// File name of the object.
    pub name: String,
    /// A later ETag of the object. The content is the same as when the object was converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// Whether the user accepted that the object is incomplete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
}

/// A log's amendments, keyed by object.
#[derive(Debug, Default)]
pub struct Amendments<'a>(HashMap<(usize, &'a str), Latest<'a>>);

#[derive(Debug, Default, Clone, Copy)]
struct Latest<'a> {
    e_tag: Option<&'a str>,
    accepted: bool,
}

impl Log {
    /// Returns the amendments that are in effect. A removal ends all earlier amendments.
    pub fn amendments(&self) -> Amendments<'_> {
        let mut amendments = Amendments::default();
        for (_, entry) in self.unremoved() {
            let Record::Amend(amendment) = &entry.record else { continue };
            for Amended { claim, name, e_tag, accepted } in &amendment.objects {
                let latest = amendments.0.entry((*claim, name)).or_default();
                latest.e_tag = e_tag.as_deref().or(latest.e_tag);
                latest.accepted |= accepted;
            }
        }
        amendments
    }
}

impl<'a> Amendments<'a> {
    /// Returns the latest known ETag of a claimed object whose content is the same as when it was converted.
    pub fn e_tag(&self, claim: usize, object: &'a Claimed) -> Option<&'a str> {
        let latest = self.0.get(&(claim, object.name.as_str()));
        latest.and_then(|latest| latest.e_tag).or(object.e_tag.as_deref())
    }

    /// Returns whether the user accepted that a claimed object is incomplete.
    pub fn is_accepted(&self, claim: usize, object: &'a Claimed) -> bool {
        self.0.get(&(claim, object.name.as_str())).is_some_and(|latest| latest.accepted)
    }
}
