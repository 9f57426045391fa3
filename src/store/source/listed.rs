//! Objects in a listing.

use std::collections::HashSet;
use std::sync::Arc;

use crate::store::lister::Entry;

/// Number of directories whose names listed objects share.
const MAX_SHARED: usize = 4096;

/// An object in a listing. Millions may be in memory at once, so objects in the same directory share the directory's
/// name.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Compressed size in bytes.
    pub size: u64,
    /// The key up to and including the last slash.
    directory: Arc<str>,
    /// The rest of the key, followed by the ETag.
    text: Box<str>,
    name_len: u32,
    is_local: bool,
}

impl Listed {
    /// Returns the key. It is relative to the source, or starts at the position that the source's `KeyOf` finds.
    pub fn key(&self) -> String {
        format!("{}{}", self.directory, self.name())
    }

    /// Returns the part of the key after the last slash.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len as usize]
    }

    /// Returns the listed ETag. The object's ETag must still be the same when the object is read.
    pub(in crate::store) fn condition(&self) -> Option<&str> {
        let e_tag = &self.text[self.name_len as usize..];
        (!e_tag.is_empty()).then_some(e_tag)
    }

    /// Returns the part of the ETag that changes only when the object changes.
    ///
    /// The ETag of a local file begins with the inode number, which is omitted because it is not stable in mounted
    /// buckets.
    pub fn e_tag(&self) -> Option<&str> {
        let e_tag = self.condition()?;
        match e_tag.split_once('-') {
            Some((_, time_and_size)) if self.is_local => Some(time_and_size.trim_matches('"')),
            _ => Some(e_tag),
        }
    }
}

/// The directories in a listing. Nearly always, each is stored once.
#[derive(Default)]
pub(super) struct Directories(HashSet<Arc<str>>);

impl Directories {
    /// Returns an object in a listing. Its key is `key_prefix` and the listed key.
    pub(super) fn listed(&mut self, entry: &Entry, key_prefix: &str, is_local: bool) -> Listed {
        let (directory, name) = entry.key.split_at(entry.key.rfind('/').map_or(0, |at| at + 1));
        let directory = match key_prefix {
            "" => self.share(directory),
            prefix => self.share(&format!("{prefix}{directory}")),
        };
        let text = [name, entry.e_tag.as_deref().unwrap_or_default()].concat().into();
        Listed { size: entry.size, directory, text, name_len: name.len() as u32, is_local }
    }

    fn share(&mut self, directory: &str) -> Arc<str> {
        if let Some(known) = self.0.get(directory) {
            return Arc::clone(known);
        }
        if self.0.len() == MAX_SHARED {
            self.0.clear();
        }
        let directory: Arc<str> = directory.into();
        self.0.insert(Arc::clone(&directory));
        directory
    }
}
