//! Keys and names of dataset files, as they appear in state files. They are validated to ensure that none refers to a
//! file outside the dataset.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Maximum length of a key in bytes: the limit of S3
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const MAX_KEY: usize = 1024;

/// The key of a file, relative to the dataset: components separated by `/` that cannot lead outside the dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileKey(String);

/// The name of a file in a known directory: a key with a single component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

/// A key or name that is not valid in a dataset.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a valid key of a file in a dataset")]
pub struct FileKeyError(String);

impl FileKey {
    /// Parses a key.
    ///
    /// # Errors
    ///
    /// Fails when the key is too long or absolute, or when a component is empty, is `.` or `..`, or contains a
    /// backslash or a control character.
    pub fn parse(key: impl Into<String>) -> Result<Self, FileKeyError> {
        let key = key.into();
        let is_valid = key.len() <= MAX_KEY && key.split('/').all(is_component);
        if is_valid { Ok(Self(key)) } else { Err(FileKeyError(key)) }
    }

    /// Splits the key into the directory and the name.
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl FileName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// Fails when the name is not a valid key or has more than one component.
    pub fn parse(name: impl Into<String>) -> Result<Self, FileKeyError> {
        let FileKey(name) = FileKey::parse(name)?;
        if name.contains('/') { Err(FileKeyError(name)) } else { Ok(Self(name)) }
    }
}

fn is_component(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(|c: char| c == '\\' || c.is_control())
}

macro_rules! text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = FileKeyError;

            fn try_from(text: String) -> Result<Self, FileKeyError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(FileKey);
text!(FileName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_dataset() {
        assert!(FileKey::parse("elb_rejects/account=1/0f.parquet").is_ok());
        let long = "a".repeat(1025);
        for key in ["", "/", "/etc/x", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb", &long] {
            assert!(FileKey::parse(key).is_err(), "{key:?}");
            assert!(FileName::parse(key).is_err(), "{key:?}");
        }
        assert!(FileName::parse("a/b").is_err());
        assert!(FileName::parse("r-0-0f.parquet").is_ok());
    }
}
