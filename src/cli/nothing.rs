//! What a person is told whose sources hold nothing to convert: what there is, and what was expected.

use indicatif::HumanCount;

use crate::key::mismatch;
use crate::plan::{Listing, NOT_SELECTED};
use crate::store::Source;

/// Returns the lines that say why there is nothing to convert, kind by kind.
pub(super) fn to_convert(sources: &[Source], listing: &Listing) -> Vec<String> {
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let mut lines = vec![match listing.listed {
        0 => format!("nothing to convert: {names} holds no objects"),
        1 => format!("nothing to convert: the only object in {names} is no log that is selected"),
        many => {
            let many = HumanCount(many);
            format!(
                "nothing to convert: of {many} objects in {names} none is a log that is selected"
            )
        }
    }];
    let mut line = |line: String| lines.push(format!("  {line}"));
    for (kind, count) in &listing.skipped {
        let mut said = format!("{} {kind}", HumanCount(*count));
        let example = listing.examples.get(kind);
        if let Some(key) = example {
            said = format!("{said}, such as {key}");
        }
        let what = explain(kind).map(ToOwned::to_owned);
        if let Some(what) = what.or_else(|| mismatch(example?)) {
            said = format!("{said}: {what}");
        }
        line(said);
    }
    for kind in &listing.passed {
        let what = explain(kind).unwrap_or("what another service delivers");
        line(format!("{kind} was passed by: {what}"));
    }
    lines.push("Expected are logs of Application Load Balancers, with keys like \
             AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/<name>.log.gz; SOURCE is a directory at, \
             above or below AWSLogs/".to_owned());
    lines
}

/// Says what objects of a kind are, and what can be done.
fn explain(kind: &str) -> Option<&'static str> {
    Some(match kind {
        NOT_SELECTED => {
            "--from, --to, --account, --region, --balancer, --log-type or --shard leave them out; without --to, so \
             is today"
        }
        "network_load_balancer" => {
            "logs of Network Load Balancers, which this program does not read"
        }
        "classic_load_balancer" => {
            "logs of Classic Load Balancers, which this program does not read"
        }
        "cloudtrail" => "events of CloudTrail; did you mean the bucket that load balancers log to?",
        "vpc_flow_logs" => "flow logs of VPCs; did you mean the bucket that load balancers log to?",
        "config" | "waf" | "guardduty" | "route53_resolver" | "network_firewall" => {
            "what another service delivers; did you mean the bucket that load balancers log to?"
        }
        "test_file" => {
            "written when logging was switched on; logs follow within minutes, if there are requests"
        }
        "misplaced" => {
            "named like logs, but not below AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/, from where \
             their day is taken: copy them with their whole keys"
        }
        _ => return None,
    })
}
