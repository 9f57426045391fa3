//! The plan: which objects become which files, before anything is read.
//!
//! A plan is a function of the listing and the options alone. Batches do not depend on threads,
//! memory or time, so that a second run over the same objects makes the same files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use crate::key::{Key, Other, Partition};
use crate::store::{Listed, Source, StoreError};

/// Which objects are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// First day of delivery.
    pub from: Option<NaiveDate>,
    /// Last day of delivery.
    pub to: Option<NaiveDate>,
    /// Accounts; all when empty.
    pub accounts: Vec<String>,
    /// Regions; all when empty.
    pub regions: Vec<String>,
    /// Load balancers by name, `app/name/id` or `app.name.id`; all when empty.
    pub balancers: Vec<String>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// Batches in the order in which they are begun: partition by partition.
    pub batches: Vec<Batch>,
    /// Number of objects listed, wanted or not.
    pub listed: u64,
    /// Objects left aside, by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What could not be listed, or contradicts itself.
    pub failures: Vec<Failure>,
}

/// The objects of one partition that become one Parquet file.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where the file goes.
    pub partition: Partition,
    /// Its objects, by balancer, end time and name.
    pub objects: Vec<Object>,
}

/// An object to convert.
#[derive(Debug, Clone)]
pub struct Object {
    /// What its key says.
    pub key: Key,
    /// What the listing says.
    pub listed: Listed,
    /// Index of its source among those of the run.
    pub source: usize,
}

/// An object, or part of a listing, that could not be converted.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Failure {
    /// Key of the object, or name of the source.
    pub object: String,
    /// What is wrong.
    pub error: String,
}

/// Kinds of skipped objects that are no [`Other`].
const NOT_SELECTED: &str = "not_selected";
const DUPLICATE: &str = "duplicate";

impl Selection {
    fn wants(&self, key: &Key) -> bool {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        let day = key.partition.day;
        self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
            && among(&self.accounts, &key.partition.account)
            && among(&self.regions, &key.partition.region)
            && (self.balancers.is_empty()
                || self.balancers.iter().any(|wanted| is_balancer(wanted, &key.balancer)))
    }
}

/// Tells whether `wanted` names the balancer `app.name.id`.
fn is_balancer(wanted: &str, balancer: &str) -> bool {
    wanted.replace('/', ".") == balancer || balancer.split('.').nth(1) == Some(wanted)
}

impl Plan {
    /// Lists the sources and plans files of about `target_size` bytes.
    ///
    /// # Errors
    ///
    /// Fails when nothing can be listed at all. A part that cannot is a [`Failure`].
    pub fn make(
        sources: &[Source],
        selection: &Selection,
        target_size: u64,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let mut objects = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            for listed in source.list() {
                match listed {
                    Ok(listed) => plan.sort_in(index, listed, selection, &mut objects),
                    Err(error) => {
                        plan.failures
                            .push(Failure { object: source.to_string(), error: error.to_string() });
                    }
                }
            }
        }
        plan.drop_repeated(&mut objects);
        objects.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut size = 0;
        for object in objects {
            let bytes = object.listed.size;
            match plan.batches.last_mut() {
                Some(batch)
                    if batch.partition == object.key.partition && size + bytes <= target_size =>
                {
                    size += bytes;
                    batch.objects.push(object);
                }
                _ => {
                    size = bytes;
                    let partition = object.key.partition.clone();
                    plan.batches.push(Batch { partition, objects: vec![object] });
                }
            }
        }
        Ok(plan)
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.batches.chunk_by(|a, b| a.partition == b.partition).count()
    }

    /// Compressed bytes to read.
    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(Batch::bytes).sum()
    }

    fn sort_in(
        &mut self,
        source: usize,
        listed: Listed,
        selection: &Selection,
        objects: &mut Vec<Object>,
    ) {
        self.listed += 1;
        match Key::parse(&listed.key) {
            Ok(key) if selection.wants(&key) => objects.push(Object { key, listed, source }),
            Ok(_) => self.skip(NOT_SELECTED),
            Err(other) => self.skip(Other::as_str(other)),
        }
    }

    fn skip(&mut self, kind: &'static str) {
        *self.skipped.entry(kind).or_default() += 1;
    }

    /// Keeps one object of each name: AWS makes names unique, so that two of a name are copies.
    ///
    /// Copies that differ in day or size contradict each other and are reported; the first day's
    /// stays.
    fn drop_repeated(&mut self, objects: &mut Vec<Object>) {
        objects.sort_by(|a, b| {
            // The key decides last: a listing comes in no order.
            let order = |o: &Object| (o.key.partition.day, o.source);
            let by_name = a.key.name.cmp(&b.key.name).then_with(|| order(a).cmp(&order(b)));
            by_name.then_with(|| a.listed.key.cmp(&b.listed.key))
        });
        objects.dedup_by(|next, kept| {
            if next.key.name != kept.key.name {
                return false;
            }
            if next.key.partition == kept.key.partition && next.listed.size == kept.listed.size {
                self.skip(DUPLICATE);
            } else {
                let error = format!(
                    "contradicts {} ({} bytes), which has the same name and is converted instead",
                    kept.listed.key, kept.listed.size
                );
                self.failures.push(Failure { object: next.listed.key.clone(), error });
            }
            true
        });
    }
}

fn order(object: &Object) -> (&Partition, &str, &str, &str) {
    let key = &object.key;
    (&key.partition, &key.balancer, &key.end_time, &key.name)
}

impl Batch {
    /// Compressed bytes of its objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.listed.size).sum()
    }

    /// Returns the name of its file: a hash of its objects and of what else decides the file's bytes.
    pub fn file_name(&self, settings: &str) -> String {
        let mut hash = Sha256::new();
        for part in [env!("CARGO_PKG_VERSION"), settings] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        for object in &self.objects {
            hash.update(object.listed.key.as_bytes());
            hash.update([0]);
            hash.update(object.listed.size.to_le_bytes());
        }
        let mut name = String::new();
        for byte in &hash.finalize()[..16] {
            write!(name, "{byte:02x}").expect("a string takes everything");
        }
        name + ".parquet"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancers_have_three_names() {
        let balancer = "app.my-lb.50dc6c495c0c9188";
        for wanted in ["my-lb", "app/my-lb/50dc6c495c0c9188", balancer] {
            assert!(is_balancer(wanted, balancer), "{wanted}");
        }
        for wanted in ["my", "app", "50dc6c495c0c9188", "app/my-lb"] {
            assert!(!is_balancer(wanted, balancer), "{wanted}");
        }
    }
}
