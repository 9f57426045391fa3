//! Explains why a source contains nothing to convert, and reports skipped objects that are named like logs.

use indicatif::HumanCount;

use crate::cli::options::{Wanted, nearest};
use crate::logs::key::{SkipReason, mismatch};
use crate::plan::{Listing, Matches, Moved, NOT_SELECTED};

/// Maximum number of names to list as suggestions.
const MAX_NAMES: usize = 10;

/// Returns whether there is nothing to convert because of the selection. If not, SOURCE contains no load balancer logs.
pub(super) fn is_explained(listing: &Listing) -> bool {
    listing.is_pruned || listing.skipped.contains_key(NOT_SELECTED)
}

/// Returns lines that explain why there is nothing to convert, including one line for each kind of skipped object.
pub(super) fn to_convert(sources: &[String], wanted: &Wanted, listing: &Listing) -> Vec<String> {
    let names = match &wanted.objects {
        Some(list) => format!("the list {list}"),
        None => sources.join(", "),
    };
    let mut lines = vec![match listing.listed {
        0 if listing.is_pruned => {
            format!("nothing to convert: {names} contains no selected objects")
        }
        0 => format!("nothing to convert: {names} contains no objects"),
        1 => format!("nothing to convert: the only object in {names} is not a selected log"),
        many => {
            let many = HumanCount(many);
            format!("nothing to convert: none of the {many} objects in {names} is a selected log")
        }
    }];
    let mut line = |line: String| lines.push(format!("  {line}"));
    for (kind, count) in &listing.skipped {
        line(of_kind(kind, *count, listing.examples.get(kind)));
    }
    for kind in &listing.passed {
        let what = explain(kind).unwrap_or("files of another service");
        line(format!("directories of {kind} are skipped: {what}"));
    }
    if listing.is_pruned && !listing.skipped.contains_key(NOT_SELECTED) {
        line(format!("directories outside the selection are skipped: {SELECTING}"));
    }
    lines.push("Logs of load balancers have names like \
             <account>_elasticloadbalancing_<region>_app.<name>.<id>_<end time>_<ip>_<random>.log.gz, in any directory; \
             net.<name>.<id> is a Network Load Balancer, and a name alone is a Classic Load Balancer, whose logs end \
             with .log. AWS delivers them below AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/".to_owned());
    lines
}

/// Returns a line with the number of skipped objects of a kind, an example and an explanation.
pub(super) fn of_kind(kind: &str, count: u64, example: Option<&String>) -> String {
    let mut line = format!("{} {kind}", HumanCount(count));
    if let Some(key) = example {
        line = format!("{line}, such as {key}");
    }
    let what = explain(kind).map(ToOwned::to_owned);
    if let Some(what) = what.or_else(|| mismatch(example?)) {
        line = format!("{line}: {what}");
    }
    line
}

/// Returns one line per kind of skipped object, limited to objects that are named like logs.
pub(super) fn left_out<'a>(
    skipped: impl Iterator<Item = (&'a &'static str, &'a u64)>,
    example: impl Fn(&str) -> Option<&'a String>,
) -> Vec<String> {
    let logs = skipped.filter(|(kind, _)| SkipReason::LOGS.contains(kind));
    logs.map(|(kind, count)| of_kind(kind, *count, example(kind))).collect()
}

/// Returns a line about objects whose directory and end time specify different days, if there are any.
pub(super) fn moved(moved: &Moved) -> Option<String> {
    let example = moved.example.as_ref()?;
    let count = HumanCount(moved.objects);
    Some(format!(
        "{count} objects are in the directory of another day, such as {example}; their end times determine their \
         partition"
    ))
}

/// Returns a line for each selected account, region and load balancer that has no logs. Each line lists the accounts,
/// regions or load balancers that do have logs.
pub(super) fn unmatched(listing: &Listing) -> Vec<String> {
    let others: Vec<&str> = listing.others.iter().map(String::as_str).collect();
    let there_are = match &others[..] {
        [] => "no other load balancer has logs".to_owned(),
        others => format!("load balancers with logs: {}", some_of(others)),
    };
    let of_balancer = |name: &String| {
        let nearest = suggestion(name, &others);
        format!("--balancer {name} matches no selected logs{nearest} ({there_are})")
    };
    let mut lines = of_place("account", &listing.accounts);
    lines.extend(of_place("region", &listing.regions));
    lines.extend(listing.unmatched.iter().map(of_balancer));
    lines
}

/// Returns a line for each selected account or region that is not in the sources, provided that the sources contain
/// other accounts or regions.
fn of_place(what: &str, matches: &Matches) -> Vec<String> {
    let others: Vec<&str> = matches.others.iter().map(String::as_str).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let of_name = |name: &String| {
        let (nearest, there_are) = (nearest(name, &others), some_of(&others));
        format!("--{what} {name} matches no logs{nearest} (other {what}s: {there_are})")
    };
    matches.missing.iter().map(of_name).collect()
}

fn some_of(names: &[&str]) -> String {
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(MAX_NAMES)].join(", "))
}

/// Suggests the load balancer with the most similar name or resource ID.
fn suggestion(name: &str, others: &[&str]) -> String {
    let short = |id: &str| id.split('/').nth(1).unwrap_or(id).to_owned();
    let wanted = name.rsplit_once("loadbalancer/").map_or(name, |(_, id)| id).replace('.', "/");
    if wanted.contains('/') {
        return nearest(&wanted, others);
    }
    let names: Vec<String> = others.iter().map(|id| short(id)).collect();
    nearest(&wanted, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

const SELECTING: &str = "excluded by --from, --to, --account, --region, --balancer, --log-type or --shard; without \
                         --to, today is excluded";

/// Explains what objects of this kind are, and what the user can do.
fn explain(kind: &str) -> Option<&'static str> {
    Some(match kind {
        NOT_SELECTED => SELECTING,
        "cloudtrail" => "CloudTrail events; did you mean the bucket that load balancers log to?",
        "vpc_flow_logs" => "VPC flow logs; did you mean the bucket that load balancers log to?",
        "config" | "waf" | "guardduty" | "route53_resolver" | "network_firewall"
        | "global_accelerator" | "redshift" | "cloudfront" => {
            "files of another service; did you mean the bucket that load balancers log to?"
        }
        "test_file" => {
            "written when logging was enabled; logs follow within minutes if there are requests"
        }
        "sidecar" => "files next to logs and named like them, such as checksums",
        _ => return None,
    })
}
