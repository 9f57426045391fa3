//! The contents of log entries.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::dataset::claim::{Amendment, Rewrite};
use crate::encode::profile::Profile;
use crate::logs::key::identity;
use crate::logs::original;
use crate::logs::reject::Reason;
use crate::store::{Listed, StagedFile};

/// The actions that this version supports.
pub(super) const ACTIONS: [&str; 4] = ["add", "remove", "amend", "rewrite"];

/// Maximum sum of the counts and sizes in a claim: far more than any batch reaches, but small enough that totals over a
/// dataset's claims cannot overflow.
pub(super) const MAX_SUM: u64 = 1 << 48;

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Record {
    /// Adds objects to the dataset.
    Add(Claim),
    /// Removes all earlier entries of the log.
    Remove(Removal),
    /// Adds facts about objects that the dataset holds.
    Amend(Amendment),
    /// Replaces files in Iceberg tables.
    Rewrite(Rewrite),
}

/// Lists the objects that a batch's outputs contain, and where the outputs are staged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Name of the run that created the claim.
    pub run: String,
    /// Version of the program that created the claim.
    pub version: String,
    /// Other settings that determine the output bytes, as `name=value` pairs separated by spaces.
    pub settings: String,
    /// Profile of the claim's files.
    #[serde(default, skip_serializing_if = "Profile::is_compact")]
    pub profile: Profile,
    /// Seconds from the first read to the last staged byte. Absent from claims by versions that did not measure this
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Number of lines read. The unreadable tail of an object counts as one line.
    pub lines: u64,
    /// Number of lines that were joined to the preceding line. They are not included in `lines`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub joined_lines: u64,
    /// Number of lines that became rows.
    pub rows: u64,
    /// Number of rejects, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Number of fields in the lines' usual form (see `logs/form.rs`). Absent if the objects' text cannot be restored:
    /// in redacted datasets, and in claims by versions that did not store originals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<usize>,
    /// Number of rows in the originals file, or 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub originals: u64,
    /// Originals files, reject files and row files, in the order in which they are published.
    pub outputs: Vec<Output>,
    /// URLs of the directories that contain the objects.
    pub directories: Vec<String>,
    /// The objects that were read, in the order of their rows in the outputs.
    pub objects: Vec<Claimed>,
}

/// A file that a claim adds to the dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Table to which the file belongs.
    pub table: String,
    /// Number of rows in the file.
    pub rows: u64,
    /// Key, size and hash of the file, and where it is staged.
    #[serde(flatten)]
    pub file: StagedFile,
}

/// An object that a claim holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// Index of the object's directory in [`Claim::directories`].
    pub directory: usize,
    /// File name of the object.
    pub name: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// The part of the object's ETag that changes only when the object changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// CRC-32 of the decompressed bytes of all gzip members, stored as eight hexadecimal digits. For gzip inside gzip,
    /// it covers the innermost bytes. For plain text, it covers the object itself. Absent if the object was damaged or
    /// not read to the end.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex")]
    pub crc32: Option<u32>,
    /// Number of decompressed bytes. Absent if `crc32` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompressed_size: Option<u64>,
    /// Whether the text does not end with a line feed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unterminated: bool,
    /// Codes of the notes about the object; see [`Note`](crate::decode::gzip::Note).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Number of lines read.
    pub lines: u64,
    /// Number of rejects, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejects: BTreeMap<String, u64>,
}

/// Removes all earlier entries of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// Name of the run that created the entry.
    pub run: String,
    /// A name that distinguishes this removal from other removals by the same run.
    pub id: String,
    /// Whether retired objects are also removed. Some of them may no longer exist in the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub including_retired: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Record {
    /// Returns the name of the run that created the entry.
    pub fn run(&self) -> &str {
        match self {
            Self::Add(Claim { run, .. })
            | Self::Remove(Removal { run, .. })
            | Self::Amend(Amendment { run, .. })
            | Self::Rewrite(Rewrite { run, .. }) => run,
        }
    }

    /// Returns the claim, if the entry is one.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Add(claim) => Some(claim),
            Self::Remove(_) | Self::Amend(_) | Self::Rewrite(_) => None,
        }
    }

    /// Returns the files that the entry publishes.
    pub fn outputs(&self) -> &[Output] {
        match self {
            Self::Add(claim) => &claim.outputs,
            Self::Rewrite(rewrite) => rewrite.output.as_slice(),
            Self::Remove(_) | Self::Amend(_) => &[],
        }
    }

    /// Returns whether the entry can be aborted.
    pub fn can_abort(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Rewrite(_))
    }
}

impl Output {
    /// Returns whether the file contains originals. Query engines do not read such files.
    pub fn has_originals(&self) -> bool {
        self.table == original::TABLE
    }
}

impl Claimed {
    /// Returns the number of lines that were rejected.
    pub fn reject_count(&self) -> u64 {
        self.rejects.values().sum()
    }

    /// Returns the number of lines that became rows.
    pub fn rows(&self) -> u64 {
        self.lines.saturating_sub(self.reject_count())
    }

    /// Returns whether the object was damaged, or contains lines, all of which were rejected.
    ///
    /// Individual rejected lines do not make an object incomplete, because it was read to the end and the rejected
    /// lines are kept.
    pub fn is_incomplete(&self) -> bool {
        let has = |reason: Reason| self.rejects.contains_key(reason.code());
        !self.rejects.is_empty()
            && (self.rows() == 0
                || Reason::ALL.into_iter().any(|reason| reason.is_damage() && has(reason)))
    }

    /// Returns text that states how many lines became rows, and why the other lines were rejected.
    pub fn outcome(&self) -> String {
        let rejects = self.rejects.iter().map(|(reason, count)| format!("{count} {reason}"));
        let rejects = rejects.collect::<Vec<_>>().join(", ");
        format!("{} of {} lines became rows; rejects: {rejects}", self.rows(), self.lines)
    }
}

impl Claim {
    /// Adds an object that was read from a URL.
    pub fn add(
        &mut self,
        url: &str,
        listed: &Listed,
        lines: u64,
        rejects: BTreeMap<String, u64>,
    ) -> &mut Claimed {
        let directory = self.directory_of(url);
        let (name, size, e_tag) =
            (listed.name().to_owned(), listed.size, listed.e_tag().map(ToOwned::to_owned));
        let (crc32, uncompressed_size) = (None, None);
        self.objects.push(Claimed {
            directory,
            name,
            size,
            e_tag,
            crc32,
            uncompressed_size,
            unterminated: false,
            notes: Vec::new(),
            lines,
            rejects,
        });
        self.objects.last_mut().expect("was just added")
    }

    /// Returns the index of the directory that contains a URL or key. Adds the directory if it is new.
    pub(super) fn directory_of(&mut self, url: &str) -> usize {
        let directory = &url[..url.rfind('/').map_or(0, |slash| slash + 1)];
        // A linear search suffices, because a batch's objects are in one or a few directories.
        let known = self.directories.iter().position(|known| known == directory);
        known.unwrap_or_else(|| {
            self.directories.push(directory.to_owned());
            self.directories.len() - 1
        })
    }

    /// Returns the URL of an object's directory, with a trailing slash.
    pub fn directory(&self, object: &Claimed) -> &str {
        self.directories.get(object.directory).map_or("", String::as_str)
    }

    /// Returns the URL of an object.
    pub fn url(&self, object: &Claimed) -> String {
        format!("{}{}", self.directory(object), object.name)
    }

    /// Returns whether the counts and sizes exceed those of any possible batch.
    pub(super) fn is_excessive(&self) -> bool {
        let own = [self.lines, self.joined_lines, self.rows, self.originals];
        let outputs = self.outputs.iter().flat_map(|output| [output.rows, output.file.size]);
        let objects = self.objects.iter().flat_map(|object| {
            let sizes = [object.size, object.uncompressed_size.unwrap_or_default(), object.lines];
            sizes.into_iter().chain(object.rejects.values().copied())
        });
        let rejects = self.rejects.values().copied();
        let all = own.into_iter().chain(rejects).chain(outputs).chain(objects);
        all.fold(0, u64::saturating_add) > MAX_SUM
    }

    /// Describes the first contradiction between the counts, if there is one.
    pub fn contradiction(&self) -> Option<String> {
        let rejects: u64 = self.rejects.values().sum();
        let lines: u64 = self.objects.iter().map(|object| object.lines).sum();
        let of_objects: u64 = self.objects.iter().flat_map(|object| object.rejects.values()).sum();
        let (originals, of_lines): (Vec<&Output>, Vec<&Output>) =
            self.outputs.iter().partition(|output| output.has_originals());
        let written: u64 = of_lines.iter().map(|output| output.rows).sum();
        let sums = [
            ("rows and rejects", self.rows + rejects),
            ("lines of its objects", lines),
            ("rows of its files", written),
        ];
        for (what, sum) in sums {
            if sum != self.lines {
                return Some(format!("has {} lines, but {sum} {what}", self.lines));
            }
        }
        if of_objects != rejects {
            return Some(format!("has {rejects} rejects, but its objects have {of_objects}"));
        }
        let written: u64 = originals.iter().map(|output| output.rows).sum();
        (!originals.is_empty() && written != self.originals).then(|| {
            format!("has {} originals, but {written} rows in its originals files", self.originals)
        })
    }

    /// Returns whether the claim was rebuilt without its originals file, which was lost. Some of the claim's objects
    /// cannot be restored.
    pub fn lacks_originals(&self) -> bool {
        self.originals > 0 && !self.outputs.iter().any(Output::has_originals)
    }

    /// Returns whether this claim and another one have an object in common.
    pub fn shares_objects_with(&self, other: &Self) -> bool {
        if other.objects.is_empty() {
            return false;
        }
        let own: HashSet<&str> = self.objects.iter().map(|object| identity(&object.name)).collect();
        other.objects.iter().any(|object| own.contains(identity(&object.name)))
    }
}

/// Serializes an optional CRC-32 as eight hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    // serde passes a reference to the field.
    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(
        crc32: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match crc32 {
            Some(crc32) => serializer.collect_str(&format_args!("{crc32:08x}")),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let digits = Option::<String>::deserialize(deserializer)?;
        let parse = |digits: String| u32::from_str_radix(&digits, 16).map_err(D::Error::custom);
        digits.map(parse).transpose()
    }
}
