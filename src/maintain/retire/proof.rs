//! Records of proofs. A proof shows which objects of a claim were restored and match the claim.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::claim::Claim;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;
use crate::util::hash::hex;

/// Directory of all proofs in the dataset.
const PROOFS: &str = "_alb2parquet/proofs";

/// The result of restoring the objects of a claim in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proof {
    /// Name of the run that proved the claim.
    run: String,
    /// When the proof began.
    proved_at: DateTime<Utc>,
    /// SHA-256 of the claim, which in turn contains the SHA-256 of each of its files.
    claim_sha256: String,
    /// Number of objects in the claim that can be restored.
    restorable: u64,
    /// Reasons why the other objects cannot be restored, by file name.
    not_restorable: BTreeMap<String, String>,
}

impl Proof {
    fn of(run: &str, claim: &Claim, results: Vec<(usize, Result<(), String>)>) -> Self {
        let mut by_index: Vec<Option<Result<(), String>>> = vec![None; claim.objects.len()];
        for (index, result) in results {
            let Some(known) = by_index.get_mut(index) else { continue };
            // If an object has several results, a success must not replace a problem.
            if !matches!(known, Some(Err(_))) {
                *known = Some(result);
            }
        }
        let (mut restorable, mut not_restorable) = (0, BTreeMap::new());
        for (object, result) in claim.objects.iter().zip(by_index) {
            match result.unwrap_or_else(|| Err("it was not compared".to_owned())) {
                Ok(()) => restorable += 1,
                Err(problem) => {
                    not_restorable.insert(object.name.clone(), problem);
                }
            }
        }
        let run = run.to_owned();
        Self { run, proved_at: Utc::now(), claim_sha256: sha256(claim), restorable, not_restorable }
    }

    /// Returns why an object cannot be restored, or `None` if it can.
    pub(super) fn problem(&self, name: &str) -> Option<&str> {
        self.not_restorable.get(name).map(String::as_str)
    }
}

fn sha256(claim: &Claim) -> String {
    hex(&Sha256::digest(serde_json::to_vec(claim).expect("plain values")))
}

/// The recorded proofs of a partition.
pub(super) struct Proofs {
    directory: String,
    /// Maximum age of proofs to use.
    age: Option<TimeDelta>,
    /// Keys of the proofs, with the numbers of their claims.
    keys: Vec<(usize, String)>,
}

impl Proofs {
    /// Lists the proofs of a partition.
    ///
    /// # Errors
    ///
    /// Fails if the proofs cannot be listed.
    pub(super) fn read(
        dataset: &Dataset,
        partition: &Partition,
        age: Option<Duration>,
    ) -> Result<Self, DatasetError> {
        let Partition { log_type, account, region, day } = partition;
        let directory = format!("{PROOFS}/{log_type}/{account}/{region}/{day}");
        let age = age.map(|age| TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX));
        let mut keys = Vec::new();
        for stored in dataset.target().list(&directory)? {
            let name = stored.key.rsplit('/').next().unwrap_or_default();
            let number = name.split_once('-').and_then(|(number, _)| number.parse().ok());
            keys.extend(number.map(|number| (number, stored.key.clone())));
        }
        Ok(Self { directory, age, keys })
    }

    /// Returns a sufficiently recent proof of a claim, if one is recorded.
    ///
    /// # Errors
    ///
    /// Fails if a proof cannot be read.
    pub(super) fn find(
        &self,
        dataset: &Dataset,
        number: usize,
        claim: &Claim,
    ) -> Result<Option<Proof>, DatasetError> {
        let Some(age) = self.age else { return Ok(None) };
        let (now, sha256) = (Utc::now(), sha256(claim));
        for (_, key) in self.keys.iter().filter(|(of, _)| *of == number) {
            let Some(text) = dataset.target().get(key)? else { continue };
            // A proof that cannot be parsed is not used, so the claim is proved again.
            let Ok(proof) = serde_json::from_slice::<Proof>(&text) else { continue };
            let since = now - proof.proved_at;
            let is_current = since >= TimeDelta::zero() && since <= age;
            // Any other problem may have been temporary, such as a store error, so the claim is proved again.
            let is_damaged = |name: &String| {
                claim.objects.iter().any(|object| object.name == *name && object.crc32.is_none())
            };
            let is_final = proof.not_restorable.keys().all(is_damaged);
            if proof.claim_sha256 == sha256 && is_current && is_final {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    /// Deletes earlier proofs of the claim, and records the new one.
    ///
    /// # Errors
    ///
    /// Fails if the proof cannot be written.
    pub(super) fn record(
        &self,
        dataset: &Dataset,
        number: usize,
        claim: &Claim,
        results: Vec<(usize, Result<(), String>)>,
    ) -> Result<Proof, DatasetError> {
        let proof = Proof::of(dataset.run(), claim, results);
        let key = format!("{}/{number}-{}.json", self.directory, dataset.run());
        dataset.create(&key, &serde_json::to_vec(&proof).expect("plain values"))?;
        for (_, superseded) in self.keys.iter().filter(|(of, _)| *of == number) {
            dataset.target().delete(superseded)?;
        }
        Ok(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::claim::Claimed;

    fn claim() -> Claim {
        let object = |name: &str| Claimed {
            directory: 0,
            name: name.to_owned(),
            size: 1,
            e_tag: None,
            crc32: Some(1),
            uncompressed_size: Some(1),
            unterminated: false,
            notes: Vec::new(),
            lines: 1,
            rejects: BTreeMap::new(),
        };
        Claim { objects: ["a", "b", "c"].map(object).to_vec(), ..Claim::default() }
    }

    #[test]
    fn an_object_without_a_result_or_with_two_is_proved_only_if_none_is_a_problem() {
        let problem = |text: &str| Err(text.to_owned());
        for (first, second) in [(Ok(()), problem("other text")), (problem("other text"), Ok(()))] {
            let results = vec![(0, Ok(())), (2, first), (2, second), (9, Ok(()))];
            let proof = Proof::of("run", &claim(), results);
            assert_eq!(proof.problem("a"), None);
            assert_eq!(proof.problem("b"), Some("it was not compared"));
            assert_eq!(proof.problem("c"), Some("other text"));
        }
    }

    #[test]
    fn a_proof_is_bound_to_every_value_of_the_claim() {
        let (before, mut after) = (claim(), claim());
        after.objects[1].crc32 = Some(2);
        assert_ne!(sha256(&before), sha256(&after));
    }
}
