//! The key for hashing values.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::redact::RedactError;
use crate::util::hash::hex;

/// Minimum length of a key in bytes. An attacker can try all addresses, so only a secret key protects hashed addresses.
pub(crate) const MIN_KEY: usize = 32;
/// Number of hexadecimal digits in a hashed value: 128 bits.
pub(super) const HASH_DIGITS: usize = 32;
/// Number of hexadecimal digits in a key's fingerprint. A fingerprint does not reveal the key unless the key is
/// guessable.
const FINGERPRINT_DIGITS: usize = 16;
/// Used instead of a column name to compute the fingerprint. No column has this name.
const FINGERPRINT: &str = "alb2parquet key";

/// A key. Its `Debug` form does not contain the secret.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Creates a key from a secret.
    ///
    /// # Errors
    ///
    /// Fails if the secret is shorter than [`MIN_KEY`] bytes.
    pub(crate) fn new(secret: &str) -> Result<Self, RedactError> {
        if secret.len() < MIN_KEY {
            return Err(RedactError::ShortKey);
        }
        let mac = Hmac::new_from_slice(secret.as_bytes());
        Ok(Self(mac.expect("a key may have any length")))
    }

    /// Returns the hash of a value in a column: the first [`HASH_DIGITS`] hexadecimal digits of the HMAC-SHA-256 of the
    /// column's name, a zero byte and the value.
    pub(crate) fn hash(&self, column: &str, value: &str) -> String {
        self.digits(column, value, HASH_DIGITS)
    }

    /// Returns a fingerprint, which differs between keys and does not reveal the key.
    pub(crate) fn fingerprint(&self) -> String {
        self.digits(FINGERPRINT, "", FINGERPRINT_DIGITS)
    }

    fn digits(&self, name: &str, value: &str, count: usize) -> String {
        let mut mac = self.0.clone();
        for part in [name.as_bytes(), &[0], value.as_bytes()] {
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes()[..count / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_those_of_openssl() {
        // printf 'client_ip\000192.0.2.1' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let key = Key::new("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(key.hash("client_ip", "192.0.2.1"), "c886b3636ff8592d09ce15188ec56c8e");
        assert_ne!(key.hash("user_agent", "192.0.2.1"), key.hash("client_ip", "192.0.2.1"));
    }
}
