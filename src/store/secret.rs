//! Secrets, which no message contains.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use percent_encoding::utf8_percent_encode;

use crate::store::url::UNRESERVED;

/// Replaces a secret in messages.
const HIDDEN: &str = "(secret)";

/// A secret, which is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The secrets that requests have contained. A server may repeat them in its responses.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<Vec<Secret>>);

impl Sent {
    /// Remembers a secret before it is sent.
    pub(super) fn add(&self, secret: &str) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [secret.to_owned(), utf8_percent_encode(secret, &UNRESERVED).to_string()] {
            if !form.is_empty() && sent.iter().all(|known| known.expose() != form) {
                sent.push(Secret(form));
            }
        }
        // A longer secret can contain a shorter one, whose replacement would leave the rest of it.
        sent.sort_by_key(|secret| usize::MAX - secret.expose().len());
    }

    /// Replaces all secrets in a message.
    pub(super) fn hide(&self, message: &str) -> String {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().fold(message.to_owned(), |text, secret| text.replace(secret.expose(), HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_contain_no_secret_in_any_form() {
        let sent = Sent::default();
        for secret in ["top", "top secret/+", ""] {
            sent.add(secret);
        }
        let message = "a top secret/+ b top%20secret%2F%2B c top d";
        assert_eq!(sent.hide(message), "a (secret) b (secret) c (secret) d");
        assert_eq!(format!("{:?}", Secret::new("top")), HIDDEN);
    }
}
