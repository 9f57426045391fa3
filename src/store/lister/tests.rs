//! Tests listings of random buckets in a store that counts requests, and listings of stores that return invalid pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::NaiveDate;
use futures::executor::block_on;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::store::lister::regions::hash;

/// A store that responds like S3 and counts requests.
#[derive(Debug)]
struct Bucket {
    keys: BTreeSet<String>,
    page_size: u64,
    can_skip: bool,
    requests: AtomicU64,
}

impl Bucket {
    fn new(keys: BTreeSet<String>, page_size: u64) -> Self {
        Self { keys, page_size, can_skip: true, requests: AtomicU64::new(0) }
    }

    fn answer(&self, ask: &Ask) -> Page {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut page = Page::default();
        let mut after = ask.token.clone().or_else(|| ask.after.clone());
        loop {
            let from = match &after {
                Some(after) => (Bound::Excluded(after.as_str()), Bound::Unbounded),
                None => (Bound::Included(ask.prefix.as_str()), Bound::Unbounded),
            };
            let next = self.keys.range::<str, _>(from).next();
            let Some(key) = next.filter(|key| key.starts_with(&ask.prefix)) else { return page };
            if page.entries.len() + page.prefixes.len() == self.page_size as usize {
                page.token = after;
                return page;
            }
            let slash = key[ask.prefix.len()..].find('/').filter(|_| ask.delimiter);
            if let Some(slash) = slash {
                let prefix = &key[..=ask.prefix.len() + slash];
                page.prefixes.push(prefix.to_owned());
                after = Some(regions::behind(prefix));
            } else {
                page.entries.push(Entry { key: key.clone(), size: 1, e_tag: None });
                after = Some(key.clone());
            }
        }
    }

    /// Lists one directory after another, except those that `look` skips.
    fn descend(&self, look: &impl Fn(&str) -> Look) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![String::new()];
        while let Some(prefix) = waiting.pop() {
            let delimiter = match look(prefix.trim_end_matches('/')) {
                Look::Skip => continue,
                look => look == Look::Inside,
            };
            let mut ask = Ask { prefix, delimiter, ..Ask::default() };
            loop {
                let page = self.answer(&ask);
                found.extend(page.entries.into_iter().map(|entry| entry.key));
                waiting.extend(page.prefixes);
                match page.token {
                    Some(token) => ask.token = Some(token),
                    None => break,
                }
            }
        }
        found
    }

    fn requests(&self) -> u64 {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Pages for Bucket {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        // Make responses to concurrent requests arrive in a different order.
        for _ in 0..hash(&(&ask.prefix, &ask.after, &ask.token)) % 3 {
            tokio::task::yield_now().await;
        }
        Ok(self.answer(ask))
    }

    fn can_skip(&self) -> bool {
        self.can_skip
    }

    fn page_size(&self) -> u64 {
        self.page_size
    }
}

/// Returns the part of a path that starts at `AWSLogs`.
fn from_logs(path: &str) -> Option<&str> {
    path.find("AWSLogs").map(|start| &path[start..])
}

/// Orders keys by account, region and path.
fn rank_of(directory: &str, key: &str) -> Option<String> {
    let parts: Vec<&str> = from_logs(directory)?.split('/').collect();
    let account = parts.get(1).filter(|part| part.len() == 12)?;
    let region = parts.get(3).filter(|part| part.contains('-')).copied().unwrap_or_default();
    let below = if region.is_empty() { "" } else { key.split_once(region)?.1 };
    Some(format!("{account}\0{region}\0{below}"))
}

/// Lists a store. Returns the keys and the errors.
fn list(
    pages: &dyn Pages,
    first: Option<Page>,
    look: &(impl Fn(&str) -> Look + Sync),
) -> (Vec<String>, Vec<String>) {
    list_in_order(pages, first, look, u64::MAX)
}

/// Lists a store, in the order of partitions after `unordered` objects. Returns the keys and the errors.
fn list_in_order(
    pages: &dyn Pages,
    first: Option<Page>,
    look: &(impl Fn(&str) -> Look + Sync),
    unordered: u64,
) -> (Vec<String>, Vec<String>) {
    let (sender, mut receiver) = mpsc::channel(1 << 20);
    block_on(search(pages, "", from_logs, rank_of, first, look, unordered, &sender));
    drop(sender);
    let (mut keys, mut errors) = (Vec::new(), Vec::new());
    let mut reached = None;
    while let Ok(progress) = receiver.try_recv() {
        match progress {
            Progress::Found(entry) => {
                let rank = rank_of(directory(&entry.key), &entry.key);
                assert!(reached <= rank, "{} after {reached:?}", entry.key);
                keys.push(entry.key);
            }
            Progress::Failed(prefix, error) => errors.push(format!("{prefix}: {error}")),
            Progress::Reached(rank) => {
                assert!(reached.as_ref() < Some(&rank), "{rank:?} after {reached:?}");
                reached = Some(rank);
            }
        }
    }
    (keys, errors)
}

/// Generates the keys of several subtrees: wide or deep, with many or few objects.
fn bucket() -> impl Strategy<Value = BTreeSet<String>> {
    let part = prop::sample::select(vec!["a", "b", "AWSLogs", "", ".", "z\u{1}", "ü"]);
    let above = prop::collection::vec(part, 0..4);
    let subtree = (above, 1_u32..200, 1_u32..40, 0_usize..4);
    prop::collection::vec(subtree, 1..5).prop_map(|subtrees| {
        let mut keys = BTreeSet::new();
        for (above, count, of_each, depth) in subtrees {
            let above = above.iter().fold(String::new(), |path, part| path + part + "/");
            for number in 0..count {
                let mut key = above.clone();
                for level in 0..depth {
                    let directory = number / of_each.pow(level as u32 + 1);
                    write!(key, "d{directory:03}/").unwrap();
                }
                keys.insert(format!("{key}{number:04}"));
            }
        }
        keys.insert("a/".to_owned());
        keys.retain(|key| !key.is_empty());
        keys
    })
}

/// Selects directories pseudorandomly: the same seed always selects the same ones.
fn random_look(seed: u64) -> impl Fn(&str) -> Look + Sync {
    move |directory: &str| {
        if directory.is_empty() {
            return Look::Inside;
        }
        match hash(&(seed, directory)) % 8 {
            0 => Look::Skip,
            1 => Look::Whole,
            _ => Look::Inside,
        }
    }
}

/// Number of requests that a search may send beyond twice the number that the cheaper method needs.
const SLACK: u64 = 16;

/// Lists a bucket with every method and compares the results. Returns the request counts of the search and of the
/// cheaper method: a descent or a sweep.
fn compare(bucket: &mut Bucket, look: &(impl Fn(&str) -> Look + Sync)) -> (u64, u64) {
    let wanted = bucket.descend(look);
    let descent = bucket.requests();
    let flat = (bucket.keys.len() as u64).div_ceil(bucket.page_size).max(1);
    let first = bucket.answer(&Ask::default());
    let (mut found, errors) = list(bucket, Some(first), look);
    let spent = bucket.requests();
    found.sort();
    assert_eq!(errors, [""; 0]);
    assert_eq!(found, Vec::from_iter(wanted.clone()), "each object once");
    bucket.can_skip = false;
    let (mut found, _) = list(bucket, None, look);
    found.sort();
    assert_eq!(found, Vec::from_iter(wanted), "without sweeps");
    assert_eq!(bucket.requests(), descent, "only the descent");
    bucket.can_skip = true;
    (spent, descent.min(flat))
}

/// Lists a bucket in the order of partitions after `unordered` objects. Returns the number of requests.
fn count_in_order(
    bucket: &mut Bucket,
    look: &(impl Fn(&str) -> Look + Sync),
    unordered: u64,
) -> u64 {
    let wanted = bucket.descend(look);
    for can_skip in [false, true] {
        bucket.can_skip = can_skip;
        let first = bucket.answer(&Ask::default());
        bucket.requests();
        let (mut found, errors) = list_in_order(bucket, Some(first), look, unordered);
        found.sort();
        assert_eq!(errors, [""; 0]);
        assert_eq!(found, Vec::from_iter(wanted.clone()), "each object once");
    }
    bucket.requests() + 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A listing in order takes at most a tenth more requests than one in any order, besides those in flight.
    #[test]
    fn a_search_in_order_finds_each_object_once_with_few_requests(
        keys in prop_oneof![bucket(), trees()],
        page_size in 1_u64..30,
        seed in any::<u64>(),
        pages in prop_oneof![0_u64..3, 20_u64..30],
    ) {
        let mut bucket = Bucket::new(keys, page_size);
        let look = random_look(seed);
        let (any_order, _) = compare(&mut bucket, &look);
        let in_order = count_in_order(&mut bucket, &look, pages * page_size);
        // In the program, a listing starts in any order, with 20 pages.
        prop_assert!(
            pages < 20 || 10 * in_order <= 11 * any_order + 10 * SLACK,
            "{} of {}", in_order, any_order
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_search_takes_at_most_twice_the_requests_of_the_cheaper_method(
        keys in bucket(),
        page_size in 1_u64..30,
        seed in any::<u64>(),
    ) {
        let mut bucket = Bucket::new(keys, page_size);
        let (spent, better) = compare(&mut bucket, &random_look(seed));
        prop_assert!(spent <= 2 * better + SLACK, "{} of {}", spent, better);
    }
}

/// Returns log keys in AWS's layout, with one object per day, and the keys of a data lake in the same bucket.
fn delivered(accounts: u64, days: u64, lake: u64) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for account in 0..accounts {
        for day in 0..days {
            let date = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(day);
            let path = date.format("%Y/%m/%d");
            keys.insert(format!(
                "AWSLogs/{account:012}/elasticloadbalancing/eu-west-1/{path}/{account}.log.gz"
            ));
        }
        keys.insert(format!("AWSLogs/{account:012}/CloudTrail/eu-west-1/x.json.gz"));
    }
    keys.extend((0..lake).map(|number| format!("data/customer={number:05}/part-0.json")));
    keys
}

/// Generates trees in AWS's layout below several prefixes, with other directories at every level.
fn trees() -> impl Strategy<Value = BTreeSet<String>> {
    let above = prop::sample::select(vec!["", "a/", "lb-1/", "lb-2/", "z/z/"]);
    let tree = (above, 1_u64..4, 1_u64..4, 1_u64..50, 1_u64..4);
    prop::collection::vec(tree, 1..4).prop_map(|trees| {
        let mut keys = BTreeSet::new();
        for (above, accounts, regions, days, objects) in trees {
            let form = if above == "lb-2/" { "year=%Y/month=%m/day=%d" } else { "%Y/%m/%d" };
            for account in 0..accounts {
                let account = format!("{above}AWSLogs/{account:012}");
                keys.insert(format!("{account}/CloudTrail/x.json.gz"));
                keys.insert(format!("{account}/own/x.log.gz"));
                for region in 0..regions {
                    let region = format!("{account}/elasticloadbalancing/eu-west-{region}");
                    keys.insert(format!("{region}/old/x.log.gz"));
                    for day in 0..days {
                        let date =
                            NaiveDate::from_ymd_opt(2024, 12, 1).unwrap() + chrono::Days::new(day);
                        for object in 0..objects * (1 + day % 3) {
                            keys.insert(format!("{region}/{}/{object}.log.gz", date.format(form)));
                        }
                    }
                }
            }
        }
        keys
    })
}

/// Selects the delivery days from `from` to `to`, given as numbers of the form `yyyymmdd`.
fn of_days(from: u32, to: u32) -> impl Fn(&str) -> Look + Sync {
    move |directory: &str| {
        let mut parts = directory.split('/').skip_while(|part| *part != "elasticloadbalancing");
        if directory.contains("CloudTrail") {
            return Look::Skip;
        }
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
        let _ = (number(), number());
        let (year, month, day) = (number(), number(), number());
        let Some(year) = year else { return Look::Inside };
        let first = year * 10_000 + month.unwrap_or(1) * 100 + day.unwrap_or(1);
        let last = year * 10_000 + month.unwrap_or(12) * 100 + day.unwrap_or(31);
        if last < from || first > to {
            Look::Skip
        } else if from <= first && last <= to {
            Look::Whole
        } else {
            Look::Inside
        }
    }
}

#[test]
fn a_search_of_a_delivered_tree_takes_at_most_twice_the_requests_of_the_cheaper_method() {
    for (accounts, days, lake) in
        [(1, 1, 1800), (1, 700, 0), (10, 400, 0), (5, 90, 5_000), (3, 30, 300)]
    {
        for (from, to) in [(0, 99_999_999), (20_240_110, 20_240_111), (20_240_501, 99_999_999)] {
            for page_size in [5, 100, 1000] {
                let mut bucket = Bucket::new(delivered(accounts, days, lake), page_size);
                let (spent, better) = compare(&mut bucket, &of_days(from, to));
                let what = format!("{accounts} {days} {lake} {from} {page_size}");
                assert!(spent <= 2 * better + SLACK, "{what}: {spent} of {better}");
                for unordered in [0, 20 * page_size] {
                    let in_order = count_in_order(&mut bucket, &of_days(from, to), unordered);
                    assert!(
                        unordered == 0 || 10 * in_order <= 11 * spent + 40,
                        "{what}: {in_order} in order after {unordered}, {spent} in any order"
                    );
                }
            }
        }
    }
}

/// A store that does not list in key order.
#[derive(Debug)]
struct Shuffled(Bucket);

#[async_trait]
impl Pages for Shuffled {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        let mut page = self.0.answer(&Ask { after: None, ..ask.clone() });
        page.entries.reverse();
        page.prefixes.reverse();
        Ok(page)
    }

    fn can_skip(&self) -> bool {
        true
    }

    fn page_size(&self) -> u64 {
        self.0.page_size
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_unordered_listing_is_complete(
        keys in bucket(),
        page_size in 1_u64..30,
        seed in any::<u64>(),
    ) {
        let bucket = Bucket::new(keys, page_size);
        let look = random_look(seed);
        let wanted = bucket.descend(&look);
        let shuffled = Shuffled(bucket);
        let first = block_on(shuffled.page(&Ask::default())).unwrap();
        let (found, errors) = list(&shuffled, Some(first), &look);
        prop_assert_eq!(errors, Vec::<String>::new());
        prop_assert_eq!(BTreeSet::from_iter(found), wanted);
    }
}

// ---- stores that return invalid pages

/// A store that returns random pages, many of them invalid.
#[derive(Debug)]
struct Invalid {
    seed: u64,
    can_skip: bool,
    requests: AtomicU64,
}

impl Invalid {
    fn random(&self, ask: &Ask, what: &str, below: u64) -> u64 {
        hash(&(self.seed, what, &ask.prefix, &ask.after, &ask.token)) % below
    }
}

#[async_trait]
impl Pages for Invalid {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        assert!(number < 20_000, "the listing does not end");
        let prefix = &ask.prefix;
        let depth = prefix.matches('/').count();
        let mut page = Page::default();
        for place in 0..self.random(ask, "count", 4) {
            let made = match self.random(ask, &format!("prefix {place}"), 60) {
                0 => "/".to_owned(),
                1 => "//".to_owned(),
                2 => prefix.clone(),
                3 => String::new(),
                4 => format!("{prefix}x/"),
                5 => format!("{prefix}x"),
                6 => format!("{prefix}/"),
                7 => prefix.split_inclusive('/').take(depth.saturating_sub(1)).collect(),
                8 => "elsewhere/".to_owned(),
                9 => format!("{prefix}a/b/"),
                // Valid directories, in an endless tree.
                10 => format!("{prefix}\u{1}/"),
                _ if depth < 5 => format!("{prefix}{place}/"),
                _ => continue,
            };
            page.prefixes.push(made);
        }
        for place in 0..self.random(ask, "objects", 3) {
            let key = match self.random(ask, &format!("key {place}"), 40) {
                0 => prefix.clone(),
                1 => format!("{prefix}{place}"),
                2 => "elsewhere".to_owned(),
                _ => format!("{prefix}z{number}"),
            };
            page.entries.push(Entry { key, size: 1, e_tag: None });
        }
        page.token = match self.random(ask, "token", 20) {
            0 => Some("always the same".to_owned()),
            1 => Some(String::new()),
            2 => Some(format!("{number}")),
            3 => ask.token.clone(),
            _ => None,
        };
        Ok(page)
    }

    fn can_skip(&self) -> bool {
        self.can_skip
    }
}

#[test]
fn a_listing_ends_whatever_the_store_returns() {
    let mut most = 0;
    for seed in 0..1_000 {
        for can_skip in [true, false] {
            let invalid = Invalid { seed, can_skip, requests: AtomicU64::new(0) };
            let _ = list(&invalid, None, &|_: &str| Look::Inside);
            most = most.max(invalid.requests.into_inner());
        }
    }
    assert!(most > 50, "some listings take many requests: {most}");
}

/// A store with one fixed page for each prefix, which it returns for every token.
#[derive(Debug)]
struct Fixed(BTreeMap<&'static str, Page>, AtomicU64);

#[async_trait]
impl Pages for Fixed {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        assert!(self.1.fetch_add(1, Ordering::Relaxed) < 1_000, "the listing does not end");
        Ok(self.0.get(ask.prefix.as_str()).cloned().unwrap_or_default())
    }

    fn can_skip(&self) -> bool {
        false
    }
}

#[test]
fn a_repeated_or_invalid_page_is_an_error_that_names_the_prefix() {
    let page = |prefixes: &[&str], token: Option<&str>| Page {
        entries: vec![Entry { key: "logs/x".to_owned(), size: 1, e_tag: None }],
        prefixes: prefixes.iter().map(ToString::to_string).collect(),
        token: token.map(ToOwned::to_owned),
    };
    let cases = [
        (page(&[], Some("t")), "repeats a continuation token"),
        (page(&["logs/"], None), "invalid directory \"logs/\""),
        (page(&["other/"], None), "invalid directory \"other/\""),
        (page(&["logs/a/b/"], None), "invalid directory"),
        (page(&["logs/a"], None), "invalid directory"),
        (page(&["logs/a/", "logs/a/"], None), "twice"),
    ];
    for (of_logs, expected) in cases {
        let root =
            Page { prefixes: vec!["good/".to_owned(), "logs/".to_owned()], ..Page::default() };
        let entries = vec![Entry { key: "good/1".to_owned(), size: 1, e_tag: None }];
        let good = Page { entries, ..Page::default() };
        let pages = BTreeMap::from([("", root), ("good/", good), ("logs/", of_logs)]);
        let (found, errors) = list(&Fixed(pages, AtomicU64::new(0)), None, &|_: &str| Look::Inside);
        assert!(found.contains(&"good/1".to_owned()), "the others are listed: {found:?}");
        assert!(errors.len() == 1 && errors[0].contains(expected), "{expected}: {errors:?}");
    }
}
