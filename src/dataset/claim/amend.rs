//! Amendments: facts about a partition's objects that became known after the objects were claimed.
//!
//! An amendment takes effect as soon as its entry exists; there is nothing to apply. For each object, the amendment
//! names the claim that holds the object, so the amendment never affects a later conversion of the same object. The
//! amendment ends when that claim is removed or aborted.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::dataset::claim::{Appended, Claim, Claimed, Log, Record};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;

/// Directory of the files that mark partitions with retired objects.
const RETIRED: &str = "_alb2parquet/retired";

/// Adds facts about objects that earlier claims in the same log hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Amendment {
    /// Name of the run that created the amendment.
    pub run: String,
    /// The objects with their new facts.
    pub objects: Vec<Amended>,
}

/// A new fact about an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Amended {
    /// Number of the claim that holds the object.
    pub claim: usize,
    /// File name of the object.
    pub name: String,
    /// A newer ETag of the object, whose content has not changed since it was converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// Whether the user accepted that the object is incomplete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// Whether the object is retired: its text can be restored, so it may have been deleted from the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// A log's amendments, keyed by object.
#[derive(Debug, Default)]
pub struct Amendments<'a>(HashMap<(usize, &'a str), Latest<'a>>);

#[derive(Debug, Default, Clone, Copy)]
struct Latest<'a> {
    e_tag: Option<&'a str>,
    accepted: bool,
    retired: bool,
}

impl Log {
    /// Returns the amendments that are in effect. A removal ends all earlier amendments.
    pub fn amendments(&self) -> Amendments<'_> {
        let mut amendments = Amendments::default();
        let mut last_removal = 0;
        for (number, entry) in self.unremoved() {
            let amendment = match &entry.record {
                Record::Amend(amendment) => amendment,
                Record::Remove(_) => {
                    last_removal = number;
                    continue;
                }
                Record::Add(_) | Record::Rewrite(_) => continue,
            };
            // Another run can remove a claim just before the claim's amendment is created.
            let in_effect = amendment.objects.iter().filter(|object| object.claim > last_removal);
            for Amended { claim, name, e_tag, accepted, retired } in in_effect {
                let latest = amendments.0.entry((*claim, name)).or_default();
                latest.e_tag = e_tag.as_deref().or(latest.e_tag);
                latest.accepted |= accepted;
                latest.retired |= retired;
            }
        }
        amendments
    }

    /// Returns the number of retired objects that have not been removed: the dataset may hold their only copy.
    pub fn retired_objects(&self) -> u64 {
        let amendments = self.amendments();
        let count = |(number, claim): (usize, &Claim)| {
            claim.objects.iter().filter(|object| amendments.is_retired(number, object)).count()
        };
        let holding = self.holding().filter(|(number, _)| !self.is_removed(*number));
        holding.map(|holding| count(holding) as u64).sum()
    }

    /// Records that objects are retired. This must happen before they are deleted from the source. Returns `false` if
    /// another run has removed the objects' claims in the meantime. The source objects must then not be deleted.
    ///
    /// # Errors
    ///
    /// Fails when the entry cannot be written, or when the outcome is unknown. In the latter case, the entry may still
    /// appear.
    pub fn retire(
        &mut self,
        dataset: &Dataset,
        objects: Vec<Amended>,
    ) -> Result<bool, DatasetError> {
        let Some(first) = objects.iter().map(|object| object.claim).min() else { return Ok(true) };
        // This file still exists if a damaged log loses the amendment.
        let marker = serde_json::json!({ "run": dataset.run() });
        let text = serde_json::to_vec(&marker).expect("plain values");
        dataset.create(&retired_key(self.partition()), &text)?;
        let amendment = Amendment { run: dataset.run().to_owned(), objects };
        let Appended::At(number) = self.append(dataset, Record::Amend(amendment))? else {
            return Ok(false);
        };
        self.mark_done(dataset, number)?;
        // A later removal reads the amendment, and refuses to remove the objects.
        Ok(!self.is_removed(first))
    }
}

/// Returns the key of the file that marks a partition with retired objects. The file does not depend on the log.
pub(crate) fn retired_key(partition: &Partition) -> String {
    let Partition { log_type, account, region, day } = partition;
    format!("{RETIRED}/{log_type}/{account}/{region}/{day}.json")
}

impl<'a> Amendments<'a> {
    /// Returns the latest ETag at which a claimed object's content was known to be unchanged.
    pub fn e_tag(&self, claim: usize, object: &'a Claimed) -> Option<&'a str> {
        let latest = self.0.get(&(claim, object.name.as_str()));
        latest.and_then(|latest| latest.e_tag).or(object.e_tag.as_deref())
    }

    /// Returns whether the user accepted that a claimed object is incomplete.
    pub fn is_accepted(&self, claim: usize, object: &'a Claimed) -> bool {
        self.0.get(&(claim, object.name.as_str())).is_some_and(|latest| latest.accepted)
    }

    /// Returns whether a claimed object is retired.
    pub fn is_retired(&self, claim: usize, object: &Claimed) -> bool {
        self.0.get(&(claim, object.name.as_str())).is_some_and(|latest| latest.retired)
    }
}
