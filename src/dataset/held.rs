//! The objects that claims hold, and how listed objects differ from them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dataset::claim::{Amendments, Claim, Claimed};
use crate::logs::key::has_size_of;
use crate::store::Listed;

/// The objects that the claims of a partition hold, keyed by identity.
pub(crate) type Held = HashMap<String, HeldObject>;

/// An object that a claim holds.
#[derive(Debug, Clone)]
pub struct HeldObject {
    /// URL of the object's directory, with a trailing slash.
    pub directory: Arc<str>,
    /// File name of the object.
    pub name: Box<str>,
    /// Compressed size in bytes.
    pub size: u64,
    /// The latest ETag at which the content was known to be unchanged since the conversion.
    pub e_tag: Option<String>,
    /// Number of the claim that holds the object.
    pub claim: usize,
    /// Fingerprint of the object's content, if the object was read to the end and was not damaged.
    pub content: Option<Content>,
}

/// Fingerprint of an object's decompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// CRC-32 of the bytes.
    pub crc32: u32,
    /// Number of bytes.
    pub size: u64,
}

/// How a listed object differs from the claimed object with the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Unchanged, according to the listing.
    None,
    /// The ETag or time changed, but the content may be the same.
    Touched,
    /// The content changed. Contains a description of the change.
    Rewritten(String),
}

impl HeldObject {
    /// Returns the objects that a claim holds.
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

    /// Returns the URL at which the object was converted.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.directory, self.name)
    }

    /// Compares the object that is listed at `url` with the claimed object.
    ///
    /// A copy at another location has a different ETag, so only its size is compared. If the copy was decompressed, its
    /// size is not compared either.
    pub fn change(&self, url: &str, listed: &Listed) -> Change {
        let there = url.rsplit_once('/').is_some_and(|(directory, name)| {
            self.directory.strip_suffix('/') == Some(directory) && *self.name == *name
        });
        if listed.size != self.size && has_size_of(&self.name, listed.name()) {
            let (is, was) = (listed.size, self.size);
            Change::Rewritten(not_converted_again(&format!(
                "has {is} bytes, but had {was} when it was converted"
            )))
        } else if there && listed.e_tag() != self.e_tag.as_deref() {
            Change::Touched
        } else {
            Change::None
        }
    }
}

/// Appends a note that the object is not converted again to the description of a change.
pub(crate) fn not_converted_again(change: &str) -> String {
    format!("{change}; it is left alone")
}
