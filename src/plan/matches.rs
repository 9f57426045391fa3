//! Compares selected names, such as regions, with the names in the sources.

use std::collections::BTreeSet;

/// Maximum number of unselected names to keep for suggestions.
const MAX_OTHERS: usize = 1000;

/// The result of comparing the selected names with the names in the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// The selected names that were not found, as the user wrote them. Empty if all names are selected.
    pub missing: Vec<String>,
    /// Names in the sources that are not selected; at most a thousand.
    pub others: BTreeSet<String>,
}

impl Matches {
    /// Starts a comparison. If `selected` is empty, all names are selected.
    pub(super) fn new(selected: &[String]) -> Self {
        Self { missing: selected.to_vec(), others: BTreeSet::new() }
    }

    /// Records a name that a source contains.
    pub(super) fn see(&mut self, name: &str, selected: &[String]) {
        if selected.is_empty() {
            return;
        }
        if selected.iter().any(|one| one == name) {
            self.missing.retain(|missing| missing != name);
        } else if self.others.len() < MAX_OTHERS && !self.others.contains(name) {
            self.others.insert(name.to_owned());
        }
    }
}
