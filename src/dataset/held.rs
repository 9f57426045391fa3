//! The objects that claims hold, and how the objects of a listing differ from them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dataset::claim::{Amendments, Claim, Claimed};
use crate::logs::key::Form;
use crate::store::Listed;

/// The objects that the claims of a partition hold, by identity.
pub(crate) type Held = HashMap<String, HeldObject>;

/// An object that a claim holds.
#[derive(Debug, Clone)]
pub struct HeldObject {
    /// URL of its directory, with a slash at its end.
    pub directory: Arc<str>,
    /// Its file name.
    pub name: Box<str>,
    /// Compressed size in bytes.
    pub size: u64,
    /// The latest ETag at which the object had the converted content.
    pub e_tag: Option<String>,
    /// Number of the claim that holds it.
    pub claim: usize,
    /// Its content, if it was read to its end without damage.
    pub content: Option<Content>,
}

/// Fingerprint of the decompressed bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// CRC-32 of the bytes.
    pub crc32: u32,
    /// Number of bytes.
    pub size: u64,
}

/// How an object differs from the claimed object with the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Unchanged, according to the listing.
    None,
    /// Its ETag or time changed; its content may be the same.
    Touched,
    /// Its content changed. The text describes how.
    Rewritten(String),
}

impl HeldObject {
    /// Returns the objects of a claim.
    pub fn of<'c>(
        number: usize,
        claim: &'c Claim,
        amendments: &Amendments<'c>,
    ) -> impl Iterator<Item = (&'c Claimed, Self)> {
        let directories: Vec<Arc<str>> =
            claim.directories.iter().map(|directory| directory.as_str().into()).collect();
        claim.objects.iter().map(move |object| {
            let directory = directories.get(object.directory).cloned();
            let directory = directory.unwrap_or_else(|| "".into());
            let name = object.name.as_str().into();
            let e_tag = amendments.e_tag(number, object).map(ToOwned::to_owned);
            let content = object.crc32.zip(object.uncompressed_size);
            let content = content.map(|(crc32, size)| Content { crc32, size });
            (object, Self { directory, name, size: object.size, e_tag, claim: number, content })
        })
    }

    /// Compares the listed object at a URL with this one.
    ///
    /// A copy elsewhere has its own ETag, so only its size is compared. A decompressed copy is not compared.
    pub fn change(&self, url: &str, listed: &Listed) -> Change {
        let there = url.rsplit_once('/').is_some_and(|(directory, name)| {
            self.directory.strip_suffix('/') == Some(directory) && *self.name == *name
        });
        if listed.size != self.size && Form::has_size_of(&self.name, listed.name()) {
            let (is, was) = (listed.size, self.size);
            Change::Rewritten(left_alone(&format!(
                "has {is} bytes, but had {was} when it was converted"
            )))
        } else if there && listed.e_tag() != self.e_tag.as_deref() {
            Change::Touched
        } else {
            Change::None
        }
    }
}

/// Appends the consequence to the description of a change.
pub(crate) fn left_alone(change: &str) -> String {
    format!("{change}; it is left alone")
}
