//! Redaction: what is known of clients is taken out of rows before anything is written.
//!
//! Rules are agreed on for a whole dataset, so that nothing of it is in clear by mistake: `dataset.json` holds them,
//! and a fingerprint of the key that values are hashed with, but never the key. They work on decoded record
//! batches, on each distinct value of a dictionary once; without rules nothing is looked at.

mod hmac_key;
mod value;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Int32Type};
use serde::{Deserialize, Serialize};

pub(crate) use crate::redact::hmac_key::{Key, MIN_KEY};

use crate::logs::schema::EXTRA_FIELDS;

/// What may be done to which columns.
pub const COLUMNS: [(&str, &[Action]); 11] = [
    ("client_ip", &[Action::Truncate, Action::Hash, Action::Drop]),
    ("client_port", &[Action::Drop]),
    (URL, &[Action::DropQuery, Action::Drop]),
    ("redirect_url", &[Action::DropQuery, Action::Drop]),
    ("transformed_uri", &[Action::DropQuery, Action::Drop]),
    ("user_agent", &[Action::Hash, Action::Drop]),
    ("trace_id", &[Action::Hash, Action::Drop]),
    ("conn_trace_id", &[Action::Hash, Action::Drop]),
    ("leaf_client_cert_subject", &[Action::Hash, Action::Drop]),
    ("leaf_client_cert_serial_number", &[Action::Hash, Action::Drop]),
    (EXTRA_FIELDS, &[Action::Drop]),
];

/// The URL of a request, and the columns that repeat it.
const URL: &str = "request_url";
const REPEATS_URL: [&str; 2] = ["redirect_url", "transformed_uri"];
/// A column, and what tells whether a text belongs there.
type Beside = (&'static str, fn(&str) -> bool);
/// The rest of the request line. Where that is none, what belongs to the URL can stand in them.
const BESIDE_URL: [Beside; 2] =
    [("request_verb", value::is_method), ("request_proto", value::is_protocol)];

/// What is done to the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Addresses lose their host: /24 of IPv4, /48 of IPv6 stay. What is no address becomes NULL.
    Truncate,
    /// Values become keyed hashes: the same value of a column the same hash.
    Hash,
    /// Values become NULL.
    Drop,
    /// URLs lose what stands behind the first `?` or `#`, and these.
    DropQuery,
}

impl Action {
    /// Returns the name that it is asked for by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::Hash => "hash",
            Self::Drop => "drop",
            Self::DropQuery => "drop-query",
        }
    }
}

/// What is done to which columns. As JSON, an object of columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(BTreeMap<String, Action>);

/// Rules, or a key, that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// A rule is not of the form `column=action`.
    #[error("{0}: write it like client_ip=truncate")]
    Form(String),
    /// No such column can be redacted.
    #[error("{0}: no such column can be redacted, but {all} can", all = names())]
    Column(String),
    /// The column knows no such action.
    #[error("{column}={action}: say one of {}", actions(.column))]
    Action {
        /// The column.
        column: String,
        /// What was asked for.
        action: String,
    },
    /// A column has two rules.
    #[error("{0} is given twice")]
    Twice(String),
    /// Something is to be hashed, but there is no key.
    #[error("{0}=hash needs a key of at least {MIN_KEY} bytes")]
    NoKey(String),
    /// The key can be guessed.
    #[error(
        "the key for hashes is shorter than {MIN_KEY} bytes: hashes of addresses could be undone by guessing it"
    )]
    ShortKey,
    /// The dataset's values were hashed with another.
    #[error("the key for hashes is another key than the one that the dataset was begun with")]
    OtherKey,
}

fn names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

fn actions(column: &str) -> String {
    let known = COLUMNS.iter().find(|(name, _)| *name == column);
    let actions = known.map_or(&[][..], |(_, actions)| actions).iter();
    actions.map(|action| format!("{column}={}", action.as_str())).collect::<Vec<_>>().join(", ")
}

impl Rules {
    /// Parses rules of the form `column=action`. That of `request_url` holds for the columns that repeat the URL, too,
    /// unless they have their own; where there is any rule, `extra_fields` is dropped, since nobody knows what it
    /// holds.
    ///
    /// # Errors
    ///
    /// Fails when a rule cannot be, or a column has two.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, RedactError> {
        let mut rules = BTreeMap::new();
        for text in texts {
            let text = text.as_ref();
            let (column, action) =
                text.split_once('=').ok_or_else(|| RedactError::Form(text.to_owned()))?;
            let (_, actions) = COLUMNS
                .iter()
                .find(|(name, _)| *name == column)
                .ok_or_else(|| RedactError::Column(column.to_owned()))?;
            let action =
                actions.iter().find(|known| known.as_str() == action).ok_or_else(|| {
                    let (column, action) = (column.to_owned(), action.to_owned());
                    RedactError::Action { column, action }
                })?;
            if rules.insert(column.to_owned(), *action).is_some() {
                return Err(RedactError::Twice(column.to_owned()));
            }
        }
        if let Some(&action) = rules.get(URL) {
            for name in REPEATS_URL {
                rules.entry(name.to_owned()).or_insert(action);
            }
        }
        if !rules.is_empty() {
            rules.insert(EXTRA_FIELDS.to_owned(), Action::Drop);
        }
        Ok(Self(rules))
    }

    /// Tells whether nothing is redacted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rules, each like `client_ip=truncate`.
    pub fn actions(&self) -> Vec<String> {
        let actions = self.0.iter();
        actions.map(|(column, action)| format!("{column}={}", action.as_str())).collect()
    }

    /// Returns a column that is hashed, if any is.
    fn hashed(&self) -> Option<&str> {
        self.0.iter().find(|(_, action)| **action == Action::Hash).map(|(name, _)| name.as_str())
    }
}

/// The rules as the metadata of files has them.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.actions().join(","))
    }
}

/// What all runs of a dataset redact alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The rules.
    pub columns: Rules,
    /// Fingerprint of the key, if something is hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

impl Agreement {
    /// Tells whether nothing is redacted.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

/// The rules as they are typed, and the key's fingerprint.
impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.columns)?;
        let fingerprint = self.key_fingerprint.as_ref();
        fingerprint.map_or(Ok(()), |key| write!(f, " key_fingerprint={key}"))
    }
}

/// Rules with the key that they need, ready to be applied.
#[derive(Debug, Default)]
pub struct Redaction {
    rules: Rules,
    key: Option<Key>,
}

impl Redaction {
    /// Returns the redaction of some rules.
    ///
    /// # Errors
    ///
    /// Fails when something is to be hashed without a key, or with one that can be guessed.
    pub fn new(rules: Rules, key: Option<&str>) -> Result<Self, RedactError> {
        let Some(hashed) = rules.hashed() else { return Ok(Self { rules, key: None }) };
        let key = key.ok_or_else(|| RedactError::NoKey(hashed.to_owned()))?;
        Ok(Self { rules, key: Some(Key::new(key)?) })
    }

    /// Returns the redaction that a dataset's runs have agreed on.
    ///
    /// # Errors
    ///
    /// Fails when it needs a key, and that is missing or another.
    pub(crate) fn agreed(agreement: &Agreement, key: Option<&str>) -> Result<Self, RedactError> {
        let redaction = Self::new(agreement.columns.clone(), key)?;
        if redaction.agreement() == *agreement { Ok(redaction) } else { Err(RedactError::OtherKey) }
    }

    /// Returns what is to be agreed on.
    pub(crate) fn agreement(&self) -> Agreement {
        let key_fingerprint = self.key.as_ref().map(Key::fingerprint);
        Agreement { columns: self.rules.clone(), key_fingerprint }
    }

    /// Tells whether nothing is redacted. The lines of rejects are kept only then.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Redacts the rows of a batch.
    pub fn apply(&self, batch: RecordBatch) -> RecordBatch {
        if self.is_empty() {
            return batch;
        }
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(batch.columns());
        let columns = fields.map(|(field, column)| self.column(field.name(), column)).collect();
        RecordBatch::try_new(schema, columns).expect("types and lengths stay as they were")
    }

    fn column(&self, name: &str, column: &ArrayRef) -> ArrayRef {
        let beside = BESIDE_URL.iter().find(|(beside, _)| *beside == name);
        match (self.rules.0.get(name), beside) {
            (Some(Action::Drop), _) => nulls(column),
            (Some(Action::Truncate), _) => {
                map(column, |text| value::truncated(text).map(Cow::Owned))
            }
            (Some(Action::DropQuery), _) => {
                map(column, |url| Some(Cow::Borrowed(value::without_query(url))))
            }
            (Some(Action::Hash), _) => {
                let key = self.key.as_ref().expect("there is no redaction without its key");
                map(column, |text| Some(Cow::Owned(key.hash(name, text))))
            }
            (None, Some((_, fits))) if self.rules.0.contains_key(URL) => {
                map(column, |text| fits(text).then_some(Cow::Borrowed(text)))
            }
            (None, _) => Arc::clone(column),
        }
    }
}

/// Returns as many NULLs of the same type, without the values that there were.
fn nulls(column: &ArrayRef) -> ArrayRef {
    if column.as_dictionary_opt::<Int32Type>().is_some() {
        let values = Arc::new(StringArray::new_null(0));
        let keys = Int32Array::new_null(column.len());
        return Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
    }
    new_null_array(column.data_type(), column.len())
}

/// Makes each text of a column into another, or NULL; the values of a dictionary once each.
fn map(column: &ArrayRef, change: impl Fn(&str) -> Option<Cow<'_, str>>) -> ArrayRef {
    let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else {
        debug_assert_eq!(column.data_type(), &DataType::Utf8, "only text is changed");
        let texts = column.as_string::<i32>().iter();
        return Arc::new(texts.map(|text| text.and_then(&change)).collect::<StringArray>());
    };
    // Values that become alike are one value, in the order of their first appearance.
    let mut values = Vec::new();
    let mut known = HashMap::new();
    let texts = dictionary.values().as_string::<i32>().iter();
    let keys: Vec<Option<i32>> = texts
        .map(|text| {
            let text = text.and_then(&change)?;
            Some(*known.entry(text).or_insert_with_key(|text| {
                values.push(text.to_string());
                values.len() as i32 - 1
            }))
        })
        .collect();
    let rows = dictionary.keys().iter();
    let rows = rows.map(|key| key.and_then(|key| keys[key as usize])).collect::<Int32Array>();
    let values = Arc::new(StringArray::from(values));
    Arc::new(DictionaryArray::<Int32Type>::new(rows, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::{Column, Kind, LogType, OWN_COLUMNS, Table};

    #[test]
    fn every_rule_is_of_a_column_that_there_is() {
        let columns = || LogType::ALL.into_iter().map(LogType::table).flat_map(Table::columns);
        let kind = |name: &str| -> Option<Kind> {
            let of = |(_, column): (usize, &Column)| (column.name == name).then_some(column.kind);
            let own = OWN_COLUMNS.iter().any(|(own, _)| *own == name);
            columns().find_map(of).or(own.then_some(Kind::String))
        };
        for (name, actions) in COLUMNS {
            let kind = kind(name).unwrap_or_else(|| panic!("there is a column {name}"));
            assert!(kind == Kind::String || actions == [Action::Drop], "{name}");
        }
        for name in REPEATS_URL.iter().chain(BESIDE_URL.iter().map(|(name, _)| name)) {
            assert_eq!(kind(name), Some(Kind::String), "{name}");
        }
    }

    #[test]
    fn rules_are_parsed_and_typed_alike() {
        assert!(Rules::parse::<&str>(&[]).unwrap().is_empty());
        let rules = Rules::parse(&["request_url=drop-query", "redirect_url=drop"]).unwrap();
        let typed =
            "extra_fields=drop,redirect_url=drop,request_url=drop-query,transformed_uri=drop-query";
        assert_eq!(rules.to_string(), typed);
        let again: Vec<&str> = typed.split(' ').filter(|word| word.contains('=')).collect();
        assert_eq!(Rules::parse(&again).unwrap(), rules);
        for (texts, error) in [
            (&["client_ip"][..], "write it like client_ip=truncate"),
            (&["client=hash"], "client_port"),
            (&["client_port=hash"], "say one of client_port=drop"),
            (&["client_ip=hash", "client_ip=drop"], "given twice"),
        ] {
            let said = Rules::parse(texts).unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
    }

    #[test]
    fn a_key_is_needed_and_never_shown() {
        let rules = || Rules::parse(&["user_agent=hash"]).unwrap();
        let none = Redaction::new(rules(), None).unwrap_err();
        assert_eq!(none, RedactError::NoKey("user_agent".to_owned()));
        let short = "x".repeat(MIN_KEY - 1);
        assert_eq!(Redaction::new(rules(), Some(&short)).unwrap_err(), RedactError::ShortKey);
        let secret = "0123456789abcdef0123456789abcdef";
        let redaction = Redaction::new(rules(), Some(secret)).unwrap();
        assert!(!format!("{redaction:?}").contains("0123"), "{redaction:?}");
        let agreement = redaction.agreement();
        let json = serde_json::to_string(&agreement).unwrap();
        assert!(!json.contains(secret), "{json}");
        assert_eq!(serde_json::from_str::<Agreement>(&json).unwrap(), agreement);
        assert!(Redaction::agreed(&agreement, Some(secret)).is_ok());
        let other = Redaction::agreed(&agreement, Some("another key, which is long enough"));
        assert_eq!(other.unwrap_err(), RedactError::OtherKey);
        // Without anything to hash, no key is looked at.
        let drop = Rules::parse(&["user_agent=drop"]).unwrap();
        assert_eq!(Redaction::new(drop, Some("short")).unwrap().agreement().key_fingerprint, None);
    }

    #[test]
    fn values_that_become_alike_are_one_and_lost_ones_are_nowhere() {
        let texts = [Some("192.0.2.1"), Some("192.0.2.9"), None, Some("nobody"), Some("::1")];
        let column: ArrayRef = Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>());
        let rules = Rules::parse(&["client_ip=truncate", "user_agent=drop"]).unwrap();
        let redaction = Redaction::new(rules, None).unwrap();
        let redacted = redaction.column("client_ip", &column);
        let redacted = redacted.as_dictionary::<Int32Type>();
        let values: Vec<_> = redacted.values().as_string::<i32>().iter().flatten().collect();
        assert_eq!(values, ["192.0.2.0", "::"]);
        let keys: Vec<_> = redacted.keys().iter().collect();
        assert_eq!(keys, [Some(0), Some(0), None, None, Some(1)]);
        let dropped = redaction.column("user_agent", &column);
        assert_eq!((dropped.null_count(), dropped.len()), (5, 5));
        assert!(dropped.as_dictionary::<Int32Type>().values().is_empty());
        assert!(Arc::ptr_eq(&redaction.column("elb", &column), &column));
    }
}
