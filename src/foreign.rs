//! What an object holds whose name says otherwise, told from its first lines.
//!
//! Only an object of which no line became a row is looked at, so that an odd line among good ones is a
//! reject like any other. What is not recognised stays rejects as well.

use std::fmt;

use crate::columns::number::{Double, Parse};
use crate::columns::time::Timestamp;
use crate::decode::Decoder;
use crate::inflate::{Part, Piece};
use crate::reject::{Reason, Reject};
use crate::schema::LogType;

/// Lines that are looked at. All must be of one kind.
const FIRST: usize = 8;

/// What an object can hold instead of lines of its log type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Lines of another log of Application Load Balancers.
    Log(LogType),
    /// Lines of a Network Load Balancer's access log.
    NetworkLoadBalancer,
    /// Lines of a Classic Load Balancer's access log.
    ClassicLoadBalancer,
    /// JSON, as CloudWatch can deliver logs.
    Json,
    /// The W3C's extended log file format, likewise (<https://www.w3.org/TR/WD-logfile.html>).
    W3c,
    /// Parquet, likewise.
    Parquet,
    /// Text in UTF-16, as Windows tools can save it.
    Utf16,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log_type) => write!(f, "{log_type} log lines"),
            Self::NetworkLoadBalancer => f.write_str("a Network Load Balancer's log lines"),
            Self::ClassicLoadBalancer => f.write_str("a Classic Load Balancer's log lines"),
            Self::Json => f.write_str("JSON"),
            Self::W3c => f.write_str("W3C extended log lines"),
            Self::Parquet => f.write_str("Parquet"),
            Self::Utf16 => f.write_str("UTF-16 text"),
        }
    }
}

/// Recognises what an object holds of which every line so far is a reject, given the first of those.
/// Returns `None` when that is not known, or is what its name says.
pub fn recognise(named: LogType, rejects: &[Reject]) -> Option<Foreign> {
    let lines: Vec<&[u8]> = match rejects {
        // Nothing was inflated; what there is instead may be text.
        [whole] if whole.reason == Reason::NotGzip => whole.raw.split(|&b| b == b'\n').collect(),
        lines => lines.iter().filter(|r| !r.reason.is_damage()).map(|r| &r.raw[..]).collect(),
    };
    let mut lines = lines.into_iter().take(FIRST);
    let kind = of_line(lines.next()?)?;
    // A header stands once.
    let whole = matches!(kind, Foreign::W3c | Foreign::Parquet | Foreign::Utf16);
    let alike = whole || lines.all(|line| line.is_empty() || of_line(line) == Some(kind));
    (alike && kind != Foreign::Log(named)).then_some(kind)
}

fn of_line(line: &[u8]) -> Option<Foreign> {
    let begins = |marks: &[&str]| marks.iter().any(|mark| line.starts_with(mark.as_bytes()));
    if begins(&["PAR1"]) {
        Some(Foreign::Parquet)
    } else if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        Some(Foreign::Utf16)
    } else if begins(&["#Version:", "#Fields:", "#Software:", "#Date:"]) {
        Some(Foreign::W3c)
    } else if begins(&["{\"", "[{\""]) {
        Some(Foreign::Json)
    } else if is_network(line) {
        Some(Foreign::NetworkLoadBalancer)
    } else if is_classic(line) {
        Some(Foreign::ClassicLoadBalancer)
    } else {
        log_type_of(line).map(Foreign::Log)
    }
}

/// Returns the log type in whose table a line becomes a row.
pub fn log_type_of(line: &[u8]) -> Option<LogType> {
    LogType::ALL.into_iter().find(|log_type| is_row(*log_type, line))
}

/// `tls 2.0 2018-12-20T02:59:40 net/name/id …`
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html>)
fn is_network(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').take(4).collect();
    let [_, _, time, elb] = words[..] else { return false };
    Timestamp::default().parse(time).is_ok() && elb.starts_with(b"net/")
}

/// `2015-05-13T23:39:43.945958Z name 192.0.2.1:2817 10.0.0.1:80 0.000073 0.001048 0.000057 …`
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>)
fn is_classic(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').take(7).collect();
    let [time, _, client, _, durations @ ..] = &words[..] else { return false };
    Timestamp::default().parse(time).is_ok()
        && client.contains(&b':')
        && durations.len() == 3
        && durations.iter().all(|duration| Double.parse(duration).is_ok())
}

/// Tells whether a line becomes a row of a log type's table.
fn is_row(log_type: LogType, line: &[u8]) -> bool {
    let mut piece = Piece::default();
    piece.text.extend(line);
    piece.text.extend(b"\n");
    let range = 0..piece.text.len();
    piece.parts.push(Part { range, ..Part::default() });
    Decoder::new(log_type.table()).decode(&mut piece, |_| "").batch.num_rows() == 1
}
