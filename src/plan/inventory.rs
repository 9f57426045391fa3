//! Reads object names from a list instead of listing the sources: keys, URLs or paths, the output of `aws s3 ls`, `aws
//! s3api`, `s5cmd ls` or `find`, CSV with a header, or an S3 Inventory in CSV or Parquet.
//!
//! The format of a list is detected from its first lines. Lines that do not match are reported with their line numbers,
//! and are never used in requests. See `docs/object-lists.md`, and for inventories
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.

mod home;
mod json;
mod entry;
mod parquet;
mod list_format;
mod table;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use crate::plan::inventory::entry::Odd;
use crate::plan::inventory::home::{Home, Stray};
use crate::plan::inventory::json::Manifest;
use crate::plan::inventory::list_format::ListFormat;
use crate::plan::inventory::table::Columns;
use crate::store::{
    Lines, MAX_SIZE, Named, Network, Source, StoreError, decoded, has_secret, open_text,
};
use crate::util::escape::printable;

/// Maximum length of a line in a list, in bytes.
const MAX_LINE: usize = 1 << 16;
/// Maximum number of characters of a line to show in an error message.
const MAX_SHOWN: usize = 80;

/// The list formats, for error messages.
const SHAPES: &str = "a list is keys, URLs or paths, one per line, the output of aws s3 ls --recursive, \
    aws s3api list-objects-v2, s5cmd ls or find, CSV with a header, or the manifest.json of an S3 Inventory; \
    see docs/object-lists.md";

/// A list of objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The file cannot be opened or read.
    #[error("{name} cannot be read")]
    Read {
        /// The file as specified by the user or in a manifest.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is in a store that cannot be reached.
    #[error("{name}")]
    Store {
        /// The file as the user specified it.
        name: String,
        /// The cause.
        source: Box<StoreError>,
    },
    /// The manifest describes an inventory in an unsupported format.
    #[error("{name} is not a manifest of an S3 Inventory in CSV or Parquet: {why}")]
    Manifest {
        /// The file as the user specified it.
        name: String,
        /// The reason.
        why: String,
    },
    /// The file is not a list of objects.
    #[error("{name}, line {line}: {text}: {why}{SHAPES}")]
    Shape {
        /// The file.
        name: String,
        /// Number of the first line that is neither blank nor a comment, starting at 1.
        line: u64,
        /// The line, escaped and truncated.
        text: Shown,
        /// The probable format of the line, if known.
        why: &'static str,
    },
    /// A line does not match the lines before it, or does not name an object in the source.
    #[error("{name}, {place}: {text}: {why}")]
    Line {
        /// The file.
        name: String,
        /// The position in the list.
        place: Place,
        /// The line, escaped and truncated.
        text: Shown,
        /// The reason.
        why: String,
    },
    /// A line names a bucket other than the source's bucket.
    #[error("{name}, {place}: {bucket} is another bucket, not that of SOURCE {source_name}")]
    Bucket {
        /// The file.
        name: String,
        /// The position in the list.
        place: Place,
        /// The bucket in the list.
        bucket: Shown,
        /// The source as the user specified it.
        source_name: String,
    },
}

/// A position in a list, or the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line number, starting at 1.
    Line(u64),
    /// A row number in a Parquet file, starting at 1.
    Row(u64),
    /// A manifest.
    Manifest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::Manifest => f.write_str("sourceBucket"),
        }
    }
}

/// Text from a list, as error messages show it: quoted, escaped and truncated. Text with credentials is omitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

/// Returns whether the text contains all or part of a URL with a password, a key or a signature.
pub fn has_credentials(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let signed = ["sig=", "signature=", "x-amz-credential", "x-amz-security-token"];
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | '\''));
    signed.iter().any(|name| lower.contains(name)) || words.any(has_secret)
}

impl Shown {
    fn of(text: &str) -> Self {
        if has_credentials(text) {
            return Self("a URL with credentials (not shown here)".to_owned());
        }
        let cut = text.char_indices().nth(MAX_SHOWN).map_or(text.len(), |(at, _)| at);
        let mut shown = printable(&text[..cut]);
        if cut < text.len() {
            shown.push('…');
        }
        Self(format!("\"{shown}\""))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object as a list describes it.
#[derive(Debug)]
struct Found<'a> {
    bucket: Option<&'a str>,
    key: Cow<'a, str>,
    size: Option<u64>,
    e_tag: Option<&'a str>,
    archived: Option<bool>,
}

impl<'a> From<entry::Entry<'a>> for Found<'a> {
    fn from(entry: entry::Entry<'a>) -> Self {
        let entry::Entry { key, size, e_tag, class } = entry;
        let archived = table::archived(class, None);
        Self { bucket: None, key: Cow::Borrowed(key), size, e_tag, archived }
    }
}

/// Calls `each` with every object in a list. `name` is the path or URL of the list, or `-` for standard input.
///
/// # Errors
///
/// Fails if the list cannot be read or has no known format, if a line does not match the format or refers to another
/// bucket, or if `each` fails.
pub(crate) fn read<E: From<ObjectsError>>(
    name: &str,
    source: &Source,
    network: &Network,
    each: impl FnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    read_with(name, source, |name| open(name, network), each)
}

/// Reads a list like [`read`]. `open` opens the list and the files that it names. This function is public for fuzz
/// targets.
///
/// # Errors
///
/// Fails in the same cases as [`read`].
#[doc(hidden)]
pub fn read_with<E: From<ObjectsError>>(
    name: &str,
    source: &Source,
    mut open: impl FnMut(&str) -> Result<Box<dyn BufRead>, ObjectsError>,
    mut each: impl FnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    let (home, source) = (Home::of(source), source.to_string());
    let (source, is_relative) = (source.as_str(), None);
    let mut list = List { name, source, home: &home, is_relative, each: &mut each };
    let Some(manifest) = list.read(open(name)?)? else { return Ok(()) };
    let format = list.format_of_files(&manifest)?;
    for file in &manifest.files {
        let name = file_of(name, &manifest.destination_bucket, &file.key);
        let mut list = List { name: &name, source, home: &home, is_relative, each: &mut each };
        list.read_as(format, open(&name)?)?;
    }
    Ok(())
}

const ORC: &str = "inventories in ORC cannot be read: configure the inventory as Parquet or CSV";

/// Returns the location of an inventory file: in the bucket that the manifest names or, if the manifest was copied to a
/// local disk, in the `data` directory next to the manifest's directory.
fn file_of(manifest: &str, destination: &str, key: &str) -> String {
    if manifest.contains("://") {
        let bucket = destination.rsplit(':').next().unwrap_or(destination);
        return format!("s3://{bucket}/{key}");
    }
    let name = key.rsplit('/').next().unwrap_or(key);
    let above = Path::new(manifest).parent().unwrap_or(Path::new(""));
    above.join("..").join("data").join(name).display().to_string()
}

/// Opens a file. Decompresses gzip and zstd files.
fn open(name: &str, network: &Network) -> Result<Box<dyn BufRead>, ObjectsError> {
    open_text(name, network).map_err(|error| {
        let name = if has_secret(name) { "URL" } else { name }.to_owned();
        match error {
            StoreError::Read(source) => ObjectsError::Read { name, source },
            error => ObjectsError::Store { name, source: Box::new(error) },
        }
    })
}

/// Reads one object list.
struct List<'a, E> {
    name: &'a str,
    /// The source as the user specified it.
    source: &'a str,
    home: &'a Home,
    /// Whether the paths in the output of `s5cmd ls` are relative to the source. `None` before the first path.
    is_relative: Option<bool>,
    each: &'a mut dyn FnMut(Named) -> Result<(), E>,
}

impl<E: From<ObjectsError>> List<'_, E> {
    /// Reads a list of any format. If the list is a manifest, returns the manifest.
    fn read(&mut self, input: Box<dyn BufRead>) -> Result<Option<Manifest>, E> {
        let (format, input) = self.recognize(input)?;
        match format {
            None => Ok(None),
            Some(format) => self.read_as(format, input),
        }
    }

    /// Returns the format of the files that a manifest lists. The manifest must describe the source's bucket.
    fn format_of_files(&self, manifest: &Manifest) -> Result<ListFormat, ObjectsError> {
        let bad = |why: String| ObjectsError::Manifest { name: self.name.to_owned(), why };
        if let Some(bucket) = &manifest.source_bucket {
            let checked = self.home.check(bucket);
            checked.map_err(|stray| self.stray(Place::Manifest, bucket, stray))?;
        }
        match manifest.file_format.as_str() {
            "CSV" => {
                let schema = &manifest.file_schema;
                let columns = Columns::of(&schema.split(',').collect::<Vec<_>>());
                let columns = columns.filter(|columns| columns.bucket.is_some());
                let bad = || bad(format!("its columns are {}", Shown::of(schema)));
                columns.map(ListFormat::Inventory).ok_or_else(bad)
            }
            "Parquet" => Ok(ListFormat::Parquet),
            "ORC" => Err(bad(ORC.to_owned())),
            other => Err(bad(format!("its format is {}", Shown::of(other)))),
        }
    }

    fn read_as(
        &mut self,
        format: ListFormat,
        input: Box<dyn BufRead>,
    ) -> Result<Option<Manifest>, E> {
        match format {
            ListFormat::Json => return self.read_json(input),
            ListFormat::Parquet => {
                return parquet::read(input, |row, found| self.take(Place::Row(row), &found))
                    .map(|()| None)
                    .map_err(|fault| match fault {
                        parquet::Fault::Read(source) => self.failed(source).into(),
                        parquet::Fault::Taker(error) => error,
                    });
            }
            _ => {}
        }
        let separators = if let ListFormat::Keys(separators) = format { separators } else { b"\n" };
        let mut lines = Lines::new(input, MAX_LINE, separators);
        let mut is_header = matches!(format, ListFormat::Csv(..));
        loop {
            let next = lines.next();
            let Some((number, raw)) = next.map_err(|source| self.failed(source))? else {
                return Ok(None);
            };
            let place = Place::Line(number);
            let Ok(text) = std::str::from_utf8(raw) else {
                let text = String::from_utf8_lossy(raw);
                return Err(self.bad(place, &text, "the line is not UTF-8").into());
            };
            if entry::is_nothing(text) {
                continue;
            }
            if is_header {
                is_header = false;
                continue;
            }
            self.read_line(format, place, text)?;
        }
    }

    fn read_line(&mut self, format: ListFormat, place: Place, text: &str) -> Result<(), E> {
        let bare = text.strip_suffix('\r').unwrap_or(text);
        if bare.contains('\0') {
            return Err(self.bad(place, text, "the line contains a NUL byte").into());
        }
        let found = match format {
            ListFormat::Keys(_) if text == "None" => return Ok(()),
            ListFormat::Keys(_) => return self.read_key(place, text),
            ListFormat::AwsLs if entry::is_summary(bare) => return Ok(()),
            ListFormat::AwsLs => entry::aws_ls(bare).map(Found::from),
            ListFormat::S5cmdLs => match entry::s5cmd_ls(bare) {
                Some(entry) => Some(self.below_source(place, text, entry)?),
                None => None,
            },
            ListFormat::Tagged => match entry::tagged(bare) {
                Some(entry::Row::Nothing) => return Ok(()),
                Some(entry::Row::Object(entry)) => Some(entry.into()),
                None => None,
            },
            ListFormat::Fields if bare == "None" => return Ok(()),
            ListFormat::Fields => entry::fields(bare).map(Found::from),
            ListFormat::Csv(delimiter, columns) => match table::split(bare, delimiter) {
                Some(fields) => {
                    match columns.read(|column| fields.get(column).map(AsRef::as_ref)) {
                        Some(found) => return self.take(place, &found),
                        None => return Ok(()),
                    }
                }
                None => None,
            },
            ListFormat::Inventory(columns) => match table::split(bare, ',') {
                Some(fields) if fields.len() > columns.key => {
                    let row = columns.read(|column| fields.get(column).map(AsRef::as_ref));
                    let Some(found) = row else { return Ok(()) };
                    let key = decoded(&found.key.replace('+', " "));
                    return self.take(place, &Found { key: Cow::Owned(key), ..found });
                }
                _ => None,
            },
            ListFormat::Json | ListFormat::Parquet => None,
        };
        let Some(found) = found else {
            let why = "the line does not match the format of the lines before it";
            return Err(self.bad(place, text, why).into());
        };
        let is_bare = !found.key.contains('/') && found.key.contains("elasticloadbalancing");
        if format == ListFormat::AwsLs && is_bare && self.home.prefix().is_some() {
            let why = "the key has no directory: list the bucket with aws s3 ls --recursive";
            return Err(self.bad(place, text, why).into());
        }
        self.take(place, &found)
    }

    /// Determines whether the paths in the output of `s5cmd ls` are complete keys or relative to the source.
    fn below_source<'a>(
        &mut self,
        place: Place,
        text: &str,
        entry: entry::Entry<'a>,
    ) -> Result<Found<'a>, E> {
        let mut found = Found::from(entry);
        let Some(prefix) = self.home.prefix() else { return Ok(found) };
        let is_key = found.key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        if *self.is_relative.get_or_insert(!is_key) == is_key {
            let why = "the lines before it are not relative to the same prefix: list with --show-fullpath";
            return Err(self.bad(place, text, why).into());
        }
        if !is_key {
            found.key = Cow::Owned(format!("{prefix}/{}", found.key));
        }
        Ok(found)
    }

    fn read_key(&mut self, place: Place, text: &str) -> Result<(), E> {
        let key = entry::key(text, self.home.prefix()).map_err(|odd| {
            let why = match odd {
                Odd::Foreign => "the line contains control characters",
                Odd::Because(why) => why,
            };
            self.bad(place, text, why)
        })?;
        self.take_text(place, key, &Found::from(entry::Entry::default()))
    }

    fn read_json(&mut self, input: Box<dyn BufRead>) -> Result<Option<Manifest>, E> {
        let read = json::read(input, |line, entry| {
            let key = entry.key.unwrap_or_default();
            let found = Found {
                bucket: None,
                key: Cow::Borrowed(&key),
                size: entry.size,
                e_tag: entry.e_tag.as_deref(),
                archived: table::archived(entry.storage_class.as_deref(), None),
            };
            if entry.is_text || entry::scheme(&key).is_some() {
                self.take_text(Place::Line(line), &key, &found)
            } else {
                self.take(Place::Line(line), &found)
            }
        });
        read.map_err(|fault| match fault {
            json::Fault::Read(source) => self.failed(source).into(),
            json::Fault::Line(line, why) => {
                let (name, why) = (self.name.to_owned(), format!("{why}; {SHAPES}"));
                ObjectsError::Line {
                    name,
                    place: Place::Line(line),
                    text: Shown("JSON".to_owned()),
                    why,
                }
                .into()
            }
            json::Fault::Taker(error) => error,
        })
    }

    /// Adds the object that a key, URL or path refers to, with its known properties.
    fn take_text(&mut self, place: Place, text: &str, known: &Found<'_>) -> Result<(), E> {
        match self.home.find(text) {
            Ok(Some(key)) => self.give(place, key, known),
            Ok(None) => Ok(()),
            Err(stray) => Err(self.stray(place, text, stray).into()),
        }
    }

    /// Adds an object whose key is known.
    fn take(&mut self, place: Place, found: &Found<'_>) -> Result<(), E> {
        let bucket = found.bucket.map_or(Ok(()), |bucket| self.home.check(bucket));
        match bucket.and_then(|()| self.home.key(&found.key)) {
            Ok(key) => self.give(place, key, found),
            Err(stray) => Err(self.stray(place, &found.key, stray).into()),
        }
    }

    fn give(&mut self, place: Place, key: String, found: &Found<'_>) -> Result<(), E> {
        if found.size.is_some_and(|size| size > MAX_SIZE) {
            return Err(self.bad(place, &key, "the size is impossible").into());
        }
        let e_tag = found.e_tag.map(|e_tag| format!("\"{}\"", e_tag.trim_matches('"')));
        (self.each)(Named { key, size: found.size, e_tag, archived: found.archived })
    }

    fn failed(&self, source: io::Error) -> ObjectsError {
        ObjectsError::Read { name: self.name.to_owned(), source }
    }

    fn no_list(&self, line: u64, text: &str, why: &'static str) -> ObjectsError {
        ObjectsError::Shape { name: self.name.to_owned(), line, text: Shown::of(text), why }
    }

    fn bad(&self, place: Place, text: &str, why: &str) -> ObjectsError {
        let (name, text, why) = (self.name.to_owned(), Shown::of(text), why.to_owned());
        ObjectsError::Line { name, place, text, why }
    }

    fn stray(&self, place: Place, text: &str, stray: Stray) -> ObjectsError {
        match stray {
            Stray::Because(why) => self.bad(place, text, &why),
            Stray::Bucket(bucket) => {
                let (name, source_name) = (self.name.to_owned(), self.source.to_owned());
                ObjectsError::Bucket { name, place, bucket: Shown::of(&bucket), source_name }
            }
        }
    }
}

#[cfg(test)]
mod round_trips;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_inventory_are_beside_their_manifest() {
        let key = "inventory/logs/all/data/0f.csv.gz";
        let remote = file_of("s3://b/i/2026-11-01T01-00Z/manifest.json", "arn:aws:s3:::dest", key);
        assert_eq!(remote, "s3://dest/inventory/logs/all/data/0f.csv.gz");
        let local = file_of("all/2026-11-01T01-00Z/manifest.json", "arn:aws:s3:::dest", key);
        assert_eq!(local, "all/2026-11-01T01-00Z/../data/0f.csv.gz");
    }

    #[test]
    fn credentials_are_not_shown() {
        for text in ["s3://key:topsecret@b/k", "k?sig=topsecret", "a \"https://u:topsecret@h/k\""] {
            assert!(!Shown::of(text).to_string().contains("topsecret"), "{text}");
        }
        assert_eq!(Shown::of("a\u{1b}\u{202e}\n").to_string(), "\"a\\x1b\\u{202e}\\x0a\"");
    }
}
