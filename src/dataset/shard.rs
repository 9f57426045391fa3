//! Shards divide the work among several runs without coordination.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

/// One of `count` shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Why a string does not specify a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The format is invalid.
    #[error("write it like 0/16, auto or auto/16")]
    Form,
    /// The index is not less than the number of shards.
    #[error("there is no shard {0} of {1}: shards are numbered from 0")]
    Beyond(u32, u32),
    /// No environment variable contains the index of this shard.
    #[error(
        "none of {} is set: is this a task of a job array?",
        INDEX_VARIABLES.join(", ")
    )]
    NoIndex,
    /// No environment variable contains the number of shards.
    #[error("{SIZE_VARIABLE} is not set: specify the number of shards, as in auto/16")]
    NoCount,
    /// The value of an environment variable is not a number.
    #[error("{0} is not a number")]
    Variable(&'static str),
}

/// Environment variables in which AWS Batch and Kubernetes pass the index of a task, counted from 0.
const INDEX_VARIABLES: [&str; 2] = ["AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX"];
/// Environment variable in which AWS Batch passes the number of tasks. Kubernetes has no such variable.
const SIZE_VARIABLE: &str = "AWS_BATCH_JOB_ARRAY_SIZE";

impl Shard {
    /// Parses `i/n`, `auto` or `auto/n`. `auto` uses the environment variables of a job array.
    ///
    /// # Errors
    ///
    /// Fails when the format is invalid, or when a variable is missing or invalid.
    pub fn parse(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ShardError> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| ShardError::Form);
        let in_environment = |name: &'static str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.map(|value| value.parse::<u32>().map_err(|_| ShardError::Variable(name)))
        };
        let (index, count) = match text.split_once('/') {
            Some((index, count)) => (index, Some(number(count)?)),
            None => (text, None),
        };
        let index = match (index, count) {
            ("auto", _) => INDEX_VARIABLES
                .into_iter()
                .find_map(in_environment)
                .ok_or(ShardError::NoIndex)??,
            (_, None) => return Err(ShardError::Form),
            (index, _) => number(index)?,
        };
        let count = match count {
            Some(count) => count,
            None => in_environment(SIZE_VARIABLE).ok_or(ShardError::NoCount)??,
        };
        if index < count {
            Ok(Self { index, count })
        } else {
            Err(ShardError::Beyond(index, count))
        }
    }

    /// Returns whether an account's partitions for a region and day belong to this shard. The log type does not matter,
    /// so each source directory belongs entirely to one shard.
    #[doc(hidden)] // for tests
    pub fn holds(self, account: &str, region: &str, day: NaiveDate) -> bool {
        let hash = Sha256::digest(format!("{account}/{region}/{day}"));
        let hash = u64::from_be_bytes(hash[..8].try_into().expect("has 32 bytes"));
        hash % u64::from(self.count) == u64::from(self.index)
    }

    /// Returns the sorted indices of the items in this shard. The shards have approximately equal total sizes: items
    /// are assigned from largest to smallest, each to the shard with the smallest total so far.
    pub(crate) fn share(self, sizes: &[u64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|place| Reverse(sizes[*place]));
        // Ties are broken by the number of items, so that items of size 0 are spread evenly, too.
        let mut loads: BinaryHeap<_> =
            (0..self.count).map(|shard| Reverse((0, 0, shard))).collect();
        let mut own = Vec::new();
        for place in order {
            let Some(Reverse((load, items, shard))) = loads.pop() else { break };
            loads.push(Reverse((load + sizes[place], items + 1, shard)));
            if shard == self.index {
                own.push(place);
            }
        }
        own.sort_unstable();
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Shard, ShardError> {
        Shard::parse(text, |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn shards_are_parsed_or_read_from_the_environment() {
        let aws = [("AWS_BATCH_JOB_ARRAY_INDEX", "2"), ("AWS_BATCH_JOB_ARRAY_SIZE", "5")];
        let kubernetes = [("JOB_COMPLETION_INDEX", "1")];
        let shard = |index, count| Ok(Shard { index, count });
        assert_eq!(parse("0/1", &[]), shard(0, 1));
        assert_eq!(parse("3/16", &aws), shard(3, 16));
        assert_eq!(parse("auto", &aws), shard(2, 5));
        assert_eq!(parse("auto/3", &aws), shard(2, 3));
        assert_eq!(parse("auto/2", &kubernetes), shard(1, 2));
        assert_eq!(parse("auto", &kubernetes), Err(ShardError::NoCount));
        assert_eq!(parse("auto", &[]), Err(ShardError::NoIndex));
        assert_eq!(parse("auto/2", &[("JOB_COMPLETION_INDEX", "")]), Err(ShardError::NoIndex));
        assert_eq!(
            parse("auto/2", &[("JOB_COMPLETION_INDEX", "x")]),
            Err(ShardError::Variable("JOB_COMPLETION_INDEX"))
        );
        assert_eq!(parse("16/16", &[]), Err(ShardError::Beyond(16, 16)));
        assert_eq!(parse("0/0", &[]), Err(ShardError::Beyond(0, 0)));
        for text in ["", "1", "/", "1/", "/2", "-1/2", "1/2/3", "a/2", "auto/", "auto/x"] {
            assert_eq!(parse(text, &aws), Err(ShardError::Form), "{text}");
        }
    }

    /// The hash of a day must never change: tasks that run different versions of the program must agree on the shards.
    #[test]
    fn the_shard_of_a_day_never_changes() {
        let day = NaiveDate::from_ymd_opt(2025, 7, 19).unwrap();
        let holds = |index| Shard { index, count: 16 }.holds("012345678901", "eu-west-1", day);
        assert_eq!((0..16).filter(|index| holds(*index)).collect::<Vec<u32>>(), [2]);
    }

    proptest::proptest! {
        /// No work is skipped or done twice.
        #[test]
        fn every_day_and_item_belongs_to_exactly_one_shard(
            account in "[0-9]{12}", region in "[a-z]{2}-[a-z]{4,9}-[1-9]", day in 0_u64..20_000,
            sizes in proptest::collection::vec(0_u64..1000, 0..60), count in 1_u32..20,
        ) {
            let shards = (0..count).map(|index| Shard { index, count });
            let day = NaiveDate::from_ymd_opt(2016, 1, 1).unwrap() + chrono::Days::new(day);
            let holders = shards.clone().filter(|shard| shard.holds(&account, &region, day));
            proptest::prop_assert_eq!(holders.count(), 1);

            let shares: Vec<Vec<usize>> = shards.map(|shard| shard.share(&sizes)).collect();
            let mut all: Vec<usize> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            proptest::prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            let loads = shares.iter().map(|share| share.iter().map(|place| sizes[*place]).sum::<u64>());
            let (least, most) = (loads.clone().min().unwrap(), loads.max().unwrap());
            let largest = sizes.iter().copied().max().unwrap_or_default();
            proptest::prop_assert!(most - least <= largest, "{} to {}", least, most);
        }
    }
}
