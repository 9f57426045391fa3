//! Byte strings in one contiguous buffer, and an interner for byte strings.

use std::hash::{BuildHasher, Hasher};
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Maximum capacity in bytes that a buffer keeps for its next use.
const MAX_ROOM: usize = 4 << 20;

/// Byte strings in the layout of Arrow's string arrays.
#[derive(Debug)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Start offset of each string, followed by the end offset of the last one.
    offsets: Vec<i32>,
}

impl Default for Arena {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl Arena {
    /// Returns the number of strings.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns the total length of the strings in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the string with the given index.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Appends a string and returns its index. The total length of all strings must be less than 2 GiB.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8]) -> usize {
        let index = self.len();
        self.bytes.extend_from_slice(string);
        debug_assert!(
            i32::try_from(self.bytes.len()).is_ok(),
            "a batch of text is far below 2 GiB"
        );
        self.offsets.push(self.bytes.len() as i32);
        index
    }

    /// Truncates to the first `count` strings.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.offsets.truncate(count + 1);
        self.bytes.truncate(self.offsets[count] as usize);
    }

    /// Returns the bytes and the offsets of the strings, and clears the arena.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<i32>) {
        let parts = (renew(&mut self.bytes), renew(&mut self.offsets));
        self.offsets.push(0);
        parts
    }
}

/// Takes the contents of a buffer and leaves an empty buffer of similar capacity in its place. The next batch has a
/// similar size, so the new buffer rarely has to be reallocated.
pub(crate) fn renew<T>(buffer: &mut Vec<T>) -> Vec<T> {
    let room = (buffer.len() + buffer.len() / 8).min(MAX_ROOM / size_of::<T>());
    mem::replace(buffer, Vec::with_capacity(room))
}

/// Assigns an index to each distinct byte string, in the order of first appearance.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    strings: Arena,
    /// Indices into `strings`.
    table: HashTable<u32>,
    // The seed is random because clients control the strings in logs. With a fixed seed, they could make hashes
    // collide.
    hasher: RandomState,
}

impl Interner {
    /// Returns the strings.
    #[inline]
    pub(crate) fn strings(&self) -> &Arena {
        &self.strings
    }

    /// Returns the index of a string, and appends the string if it is new.
    pub(crate) fn intern(&mut self, string: &[u8]) -> usize {
        self.intern_if(string, |_| true).expect("every string is accepted")
    }

    /// Returns the index of a string. Appends a new string if `accept` returns true; otherwise, returns `None`.
    pub(crate) fn intern_if(
        &mut self,
        string: &[u8],
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> Option<usize> {
        let Self { strings, table, hasher } = self;
        let hash = |string: &[u8]| {
            let mut hasher = hasher.build_hasher();
            hasher.write(string);
            hasher.finish()
        };
        let entry = table.entry(
            hash(string),
            |&index| strings.get(index as usize) == string,
            |&index| hash(strings.get(index as usize)),
        );
        match entry {
            Entry::Occupied(entry) => Some(*entry.get() as usize),
            Entry::Vacant(entry) => accept(string).then(|| {
                let index = strings.push(string);
                entry.insert(index as u32);
                index
            }),
        }
    }

    /// Appends a string without adding it to the hash table, so [`intern`](Self::intern) does not find it. Use this
    /// method for strings that the caller finds by other means or does not expect to see again.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8]) -> usize {
        self.strings.push(string)
    }

    /// Truncates to the first `count` strings.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.table.retain(|&mut index| (index as usize) < count);
        self.strings.truncate(count);
    }

    /// Returns the bytes and the offsets of the strings, and clears the interner.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<i32>) {
        self.table.clear();
        self.strings.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;

    use super::*;

    proptest::proptest! {
        /// Compares the interner with a map from strings to indices, including after truncation.
        #[test]
        fn equal_strings_have_one_index(
            rounds in vec((vec("[ab]{0,6}", 0..60), 0_usize..60), 1..5),
        ) {
            let mut interner = Interner::default();
            let mut expected: Vec<String> = Vec::new();
            for (strings, keep) in rounds {
                for string in strings {
                    let known: HashMap<_, _> = expected.iter().zip(0..).collect();
                    let index = known.get(&string).copied();
                    let rejected = interner.intern_if(string.as_bytes(), |_| false);
                    proptest::prop_assert_eq!(rejected, index, "a rejected string is not appended");
                    proptest::prop_assert_eq!(
                        interner.intern(string.as_bytes()),
                        index.unwrap_or(expected.len()),
                    );
                    if index.is_none() {
                        expected.push(string);
                    }
                }
                let count = keep.min(expected.len());
                interner.truncate(count);
                expected.truncate(count);
                let size: usize = expected.iter().map(String::len).sum();
                let strings = interner.strings();
                proptest::prop_assert_eq!((strings.len(), strings.size()), (count, size));
                for (index, string) in expected.iter().enumerate() {
                    proptest::prop_assert_eq!(strings.get(index), string.as_bytes());
                }
            }
            let (bytes, offsets) = interner.take();
            proptest::prop_assert_eq!(bytes, expected.concat().into_bytes());
            proptest::prop_assert_eq!(offsets.len(), expected.len() + 1);
            proptest::prop_assert_eq!(interner.strings().len(), 0);
        }
    }
}
