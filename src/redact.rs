//! Redaction: removes personal data from rows before they are written.
//!
//! All runs that write to a dataset must use the same rules, so that no run adds unredacted rows. `dataset.json`
//! contains the rules and a fingerprint of the key for hashing, but never the key itself. Rules apply to decoded record
//! batches, once for each distinct value of a dictionary. Without rules, batches are returned unchanged.

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

/// The columns that can be redacted, with their supported actions.
pub const COLUMNS: [(&str, &[Action]); 14] = [
    ("client_ip", &[Action::Truncate, Action::Hash, Action::Drop]),
    ("request_ip", &[Action::Truncate, Action::Hash, Action::Drop]),
    ("client_port", &[Action::Drop]),
    ("request_port", &[Action::Drop]),
    (REQUEST_URL, &[Action::DropQuery, Action::Drop]),
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

/// The column that contains the URL of a request to an Application Load Balancer.
const REQUEST_URL: &str = "request_url";
/// The column that contains the URL of a request to a Classic Load Balancer.
const URL: &str = "url";
/// Columns, each with the other columns that contain the same data. These may come from another field or belong to
/// another log type's table.
const SAME: [(&str, &[&str]); 3] = [
    ("client_ip", &["request_ip"]),
    ("client_port", &["request_port"]),
    (REQUEST_URL, &["redirect_url", "transformed_uri", URL]),
];
/// A column, the URL columns for the same request line, and a function that returns whether text is a valid value for
/// the column.
type Beside = (&'static str, &'static [&'static str], fn(&str) -> bool);
/// The other columns of the request line. If the request line is malformed, they may contain parts of the URL.
const BESIDE_URL: [Beside; 3] = [
    ("request_verb", &[REQUEST_URL, URL], value::is_method),
    ("request_proto", &[REQUEST_URL], value::is_protocol),
    ("protocol", &[URL], value::is_protocol),
];

/// The redaction of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Truncates IP addresses to their network: /24 for IPv4, /48 for IPv6. Other values become NULL.
    Truncate,
    /// Replaces values with keyed hashes. Equal values have equal hashes if they are in the same column or in columns
    /// with the same data.
    Hash,
    /// Replaces values with NULL.
    Drop,
    /// Removes the query and fragment from URLs: everything from the first `?` or `#`.
    DropQuery,
}

impl Action {
    /// Returns the action's name, as written in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::Hash => "hash",
            Self::Drop => "drop",
            Self::DropQuery => "drop-query",
        }
    }
}

/// The redacted columns and their actions. Serialized as a JSON object with a key for each column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(BTreeMap<String, Action>);

/// A rule or the key for hashing is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// A rule is not of the form `column=action`.
    #[error("{0}: expected COLUMN=ACTION, such as client_ip=truncate")]
    Form(String),
    /// The column does not exist or cannot be redacted.
    #[error("{0}: expected one of the columns {all}", all = names())]
    Column(String),
    /// The column does not support the action.
    #[error("{column}={action}: expected one of {}", actions(.column))]
    Action {
        /// The column.
        column: String,
        /// The unsupported action.
        action: String,
    },
    /// A column has two rules.
    #[error("{0} has two rules")]
    Twice(String),
    /// A rule hashes a column, but there is no key.
    #[error("{0}=hash requires a key of at least {MIN_KEY} bytes")]
    NoKey(String),
    /// The key is too short to be secure.
    #[error(
        "the key for hashing is shorter than {MIN_KEY} bytes: an attacker who guesses it can recover addresses from \
         their hashes"
    )]
    ShortKey,
    /// The values of the dataset were hashed with a different key.
    #[error("the key for hashing is not the key of the dataset")]
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
    /// Parses rules of the form `column=action`.
    ///
    /// A rule also applies to the columns that contain the same data, unless those columns have separate rules. For
    /// example, the rule for `client_ip` also applies to `request_ip`. If there are any rules, `extra_fields` is
    /// dropped, because its contents are unknown.
    ///
    /// # Errors
    ///
    /// Fails if a rule is invalid, or if a column has two rules.
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
        for (column, others) in SAME {
            if let Some(&action) = rules.get(column) {
                for name in others {
                    rules.entry((*name).to_owned()).or_insert(action);
                }
            }
        }
        if !rules.is_empty() {
            rules.insert(EXTRA_FIELDS.to_owned(), Action::Drop);
        }
        Ok(Self(rules))
    }

    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rules as text, such as `client_ip=truncate`.
    pub fn actions(&self) -> Vec<String> {
        let actions = self.0.iter();
        actions.map(|(column, action)| format!("{column}={}", action.as_str())).collect()
    }

    /// Returns the first column that is hashed, if there is one.
    fn hashed(&self) -> Option<&str> {
        self.0.iter().find(|(_, action)| **action == Action::Hash).map(|(name, _)| name.as_str())
    }
}

/// Formats the rules as flags, as in the metadata of files.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.actions().join(","))
    }
}

/// The rules that all runs of a dataset must use, and the fingerprint of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The rules.
    pub columns: Rules,
    /// Fingerprint of the key, if a column is hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

impl Agreement {
    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

/// Formats the rules as flags, followed by the key's fingerprint.
impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.columns)?;
        let fingerprint = self.key_fingerprint.as_ref();
        fingerprint.map_or(Ok(()), |key| write!(f, " key_fingerprint={key}"))
    }
}

/// Rules and the key for hashing. Redacts record batches.
#[derive(Debug, Default)]
pub struct Redaction {
    rules: Rules,
    key: Option<Key>,
}

impl Redaction {
    /// Returns the redaction that applies the given rules.
    ///
    /// # Errors
    ///
    /// Fails if a rule hashes a column, but the key is missing or shorter than 32 bytes.
    pub fn new(rules: Rules, key: Option<&str>) -> Result<Self, RedactError> {
        let Some(hashed) = rules.hashed() else { return Ok(Self { rules, key: None }) };
        let key = key.ok_or_else(|| RedactError::NoKey(hashed.to_owned()))?;
        Ok(Self { rules, key: Some(Key::new(key)?) })
    }

    /// Returns the redaction of a dataset.
    ///
    /// # Errors
    ///
    /// Fails if the redaction needs a key, but the key is missing or is not the key of the dataset.
    pub(crate) fn agreed(agreement: &Agreement, key: Option<&str>) -> Result<Self, RedactError> {
        let redaction = Self::new(agreement.columns.clone(), key)?;
        if redaction.agreement() == *agreement { Ok(redaction) } else { Err(RedactError::OtherKey) }
    }

    /// Returns the rules and the fingerprint of the key, for `dataset.json`.
    pub(crate) fn agreement(&self) -> Agreement {
        let key_fingerprint = self.key.as_ref().map(Key::fingerprint);
        Agreement { columns: self.rules.clone(), key_fingerprint }
    }

    /// Returns whether there are no rules. Only then do rejects contain the text of their lines.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns a batch with redacted values.
    pub fn apply(&self, batch: RecordBatch) -> RecordBatch {
        if self.is_empty() {
            return batch;
        }
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(batch.columns());
        let columns = fields.map(|(field, column)| self.column(field.name(), column)).collect();
        RecordBatch::try_new(schema, columns).expect("types and lengths do not change")
    }

    fn column(&self, name: &str, column: &ArrayRef) -> ArrayRef {
        let beside = BESIDE_URL.iter().find(|(beside, ..)| *beside == name);
        match (self.rules.0.get(name), beside) {
            (Some(Action::Drop), _) => nulls(column),
            (Some(Action::Truncate), _) => {
                map(column, |text| value::truncated(text).map(Cow::Owned))
            }
            (Some(Action::DropQuery), _) => {
                map(column, |url| Some(Cow::Borrowed(value::without_query(url))))
            }
            (Some(Action::Hash), _) => {
                let key = self.key.as_ref().expect("a redaction that hashes has a key");
                map(column, |text| Some(Cow::Owned(key.hash(canonical(name), text))))
            }
            (None, Some((_, urls, fits)))
                if urls.iter().any(|url| self.rules.0.contains_key(*url)) =>
            {
                map(column, |text| fits(text).then_some(Cow::Borrowed(text)))
            }
            (None, _) => Arc::clone(column),
        }
    }
}

/// Returns the name with which a column's values are hashed: the name of the first column that contains the same data.
/// Equal values in such columns therefore have equal hashes.
fn canonical(column: &str) -> &str {
    SAME.iter().find(|(_, others)| others.contains(&column)).map_or(column, |(first, _)| first)
}

/// Returns a column of NULLs with the type and length of the given column. If the column has a dictionary, the new one
/// is empty.
fn nulls(column: &ArrayRef) -> ArrayRef {
    if column.as_dictionary_opt::<Int32Type>().is_some() {
        let values = Arc::new(StringArray::new_null(0));
        let indices = Int32Array::new_null(column.len());
        return Arc::new(DictionaryArray::<Int32Type>::new(indices, values));
    }
    new_null_array(column.data_type(), column.len())
}

/// Returns a column with `change` applied to each string, or to each value in the column's dictionary. `None` becomes
/// NULL.
fn map(column: &ArrayRef, change: impl Fn(&str) -> Option<Cow<'_, str>>) -> ArrayRef {
    let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else {
        debug_assert_eq!(column.data_type(), &DataType::Utf8, "only text is changed");
        let texts = column.as_string::<i32>().iter();
        return Arc::new(texts.map(|text| text.and_then(&change)).collect::<StringArray>());
    };
    // Values that become equal are merged. The rest stay in the order of first appearance.
    let mut values = Vec::new();
    let mut known = HashMap::new();
    let texts = dictionary.values().as_string::<i32>().iter();
    let indices: Vec<Option<i32>> = texts
        .map(|text| {
            let text = text.and_then(&change)?;
            Some(*known.entry(text).or_insert_with_key(|text| {
                values.push(text.to_string());
                values.len() as i32 - 1
            }))
        })
        .collect();
    let rows = dictionary.keys().iter();
    let rows = rows.map(|index| index.and_then(|index| indices[index as usize]));
    let rows = rows.collect::<Int32Array>();
    let values = Arc::new(StringArray::from(values));
    Arc::new(DictionaryArray::<Int32Type>::new(rows, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::{Column, Kind, LogType, OWN_COLUMNS, Table};

    #[test]
    fn every_rule_is_of_an_existing_column() {
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
        for (name, ..) in BESIDE_URL {
            assert_eq!(kind(name), Some(Kind::String), "{name}");
        }
        let actions = |name: &str| COLUMNS.iter().find(|(column, _)| *column == name).unwrap().1;
        for (column, others) in SAME {
            for other in others {
                assert_eq!(actions(other), actions(column), "{other}");
            }
        }
    }

    #[test]
    fn parsing_the_text_of_rules_returns_the_same_rules() {
        assert!(Rules::parse::<&str>(&[]).unwrap().is_empty());
        let rules = Rules::parse(&["request_url=drop-query", "redirect_url=drop"]).unwrap();
        let flags = "extra_fields=drop,redirect_url=drop,request_url=drop-query,transformed_uri=drop-query,url=drop-query";
        assert_eq!(rules.to_string(), flags);
        let again: Vec<&str> = flags.split(',').collect();
        assert_eq!(Rules::parse(&again).unwrap(), rules);
        for (texts, error) in [
            (&["client_ip"][..], "such as client_ip=truncate"),
            (&["client=hash"], "client_port"),
            (&["client_port=hash"], "expected one of client_port=drop"),
            (&["client_ip=hash", "client_ip=drop"], "has two rules"),
        ] {
            let message = Rules::parse(texts).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
    }

    #[test]
    fn hashing_requires_a_key_that_is_never_shown() {
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
        // Without hashed columns, the key is ignored.
        let drop = Rules::parse(&["user_agent=drop"]).unwrap();
        assert_eq!(Redaction::new(drop, Some("short")).unwrap().agreement().key_fingerprint, None);
    }

    #[test]
    fn dictionaries_contain_each_redacted_value_once_and_no_original_value() {
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
