//! Reads lists in JSON: responses from `aws s3api`, arrays of keys, output of `s5cmd --json`, and S3 Inventory
//! manifests.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Maximum length of a string or number, in bytes.
const MAX_TOKEN: usize = 1 << 16;

/// One entry of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(alias = "Key")]
    pub(super) key: Option<String>,
    #[serde(alias = "Size")]
    pub(super) size: Option<u64>,
    #[serde(alias = "ETag", alias = "etag")]
    pub(super) e_tag: Option<String>,
    #[serde(alias = "StorageClass")]
    pub(super) storage_class: Option<String>,
    #[serde(alias = "IsLatest")]
    is_latest: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Whether the entry is a plain string, which may be a URL instead of a key.
    #[serde(skip)]
    pub(super) is_text: bool,
}

impl Entry {
    fn of(text: &str) -> Self {
        Self { key: Some(text.to_owned()), is_text: true, ..Self::default() }
    }

    fn is_current(&self) -> bool {
        self.is_latest != Some(false) && self.kind.as_deref() != Some("directory")
    }
}

/// The parts of an S3 Inventory manifest that this program needs.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) source_bucket: Option<String>,
    pub(super) destination_bucket: String,
    pub(super) file_format: String,
    pub(super) file_schema: String,
    pub(super) files: Vec<ManifestFile>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ManifestFile {
    pub(super) key: String,
}

/// An error in a JSON list.
pub(super) enum Fault<E> {
    /// The list cannot be read.
    Read(io::Error),
    /// A line is invalid.
    Line(u64, String),
    /// The function that consumes the entries failed.
    Taker(E),
}

/// Calls `take` with every current entry and the number of the entry's last line. If the list is a manifest, returns
/// the manifest.
pub(super) fn read<E>(
    input: Box<dyn BufRead>,
    mut take: impl FnMut(u64, Entry) -> Result<(), E>,
) -> Result<Option<Manifest>, Fault<E>> {
    let line = Cell::new(1);
    let mut input = Bounded { input, line: &line, run: 0, in_string: false, escaped: false };
    let mut failed = None;
    let mut take = |entry: Entry| match take(line.get(), entry) {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    };
    let mut manifest = None;
    let mut error = None;
    loop {
        match input.skip_space() {
            Ok(true) => {}
            Ok(false) => break,
            Err(failure) => return Err(Fault::Read(failure)),
        }
        let mut json = serde_json::Deserializer::from_reader(&mut input);
        match (Top { take: &mut take }).deserialize(&mut json) {
            Ok(found) => manifest = manifest.or(found),
            Err(failure) => {
                error = Some(failure);
                break;
            }
        }
    }
    match (failed, error) {
        (Some(failed), _) => Err(Fault::Taker(failed)),
        (None, None) => Ok(manifest),
        (None, Some(error)) if error.is_io() => Err(Fault::Read(error.into())),
        (None, Some(error)) => {
            let text = error.to_string();
            let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
            Err(Fault::Line(line.get(), why.to_owned()))
        }
    }
}

/// A reader that counts lines and refuses strings and numbers that are too long.
struct Bounded<'a> {
    input: Box<dyn BufRead>,
    line: &'a Cell<u64>,
    run: usize,
    in_string: bool,
    escaped: bool,
}

impl Bounded<'_> {
    /// Skips white space. Returns whether anything follows.
    fn skip_space(&mut self) -> io::Result<bool> {
        loop {
            let available = self.input.fill_buf()?;
            let space = available.iter().take_while(|byte| byte.is_ascii_whitespace());
            let (count, is_over) = (space.count(), available.is_empty());
            let lines =
                available[..count].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            let more = count < available.len();
            self.line.set(self.line.get() + lines);
            self.input.consume(count);
            if more || is_over {
                return Ok(more);
            }
        }
    }

    fn note(&mut self, byte: u8) -> io::Result<()> {
        let ends = if self.in_string {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_string = !ends;
            ends
        } else {
            self.line.set(self.line.get() + u64::from(byte == b'\n'));
            self.in_string = byte == b'"';
            byte.is_ascii_whitespace() || b"\",:[]{}".contains(&byte)
        };
        self.run = if ends { 0 } else { self.run + 1 };
        if self.run > MAX_TOKEN {
            let why =
                format!("line {}: a string is longer than {MAX_TOKEN} bytes", self.line.get());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        for &byte in &out[..count] {
            self.note(byte)?;
        }
        Ok(count)
    }
}

/// Consumes entries; returns `false` to stop reading.
type Take<'a> = &'a mut dyn FnMut(Entry) -> bool;

fn taken<E: serde::de::Error>(take: Take<'_>, entry: Entry) -> Result<(), E> {
    if !entry.is_current() || take(entry) { Ok(()) } else { Err(E::custom("stopped")) }
}

/// Deserializes a top-level value.
struct Top<'a> {
    take: Take<'a>,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Option<Manifest>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Option<Manifest>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response of aws s3api, an array of keys, or the manifest of an S3 Inventory")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        taken(self.take, Entry::of(text)).map(|()| None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        List { take: self.take }.visit_seq(seq).map(|()| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entry, mut is_answer) = (Entry::default(), false);
        let (mut source_bucket, mut destination_bucket) = (None, None);
        let (mut file_format, mut file_schema, mut files) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "Contents" | "Versions" => {
                    is_answer = true;
                    map.next_value_seed(List { take: &mut *self.take })?;
                }
                "EncodingType" => {
                    is_answer = true;
                    if map.next_value::<Option<String>>()?.as_deref() == Some("url") {
                        return Err(A::Error::custom(
                            "the keys are encoded (EncodingType is url): list without --encoding-type",
                        ));
                    }
                }
                "Key" | "key" => entry.key = map.next_value()?,
                "Size" | "size" => entry.size = map.next_value()?,
                "ETag" | "etag" | "e_tag" => entry.e_tag = map.next_value()?,
                "StorageClass" | "storage_class" => entry.storage_class = map.next_value()?,
                "IsLatest" => entry.is_latest = map.next_value()?,
                "type" => entry.kind = map.next_value()?,
                "sourceBucket" => source_bucket = map.next_value()?,
                "destinationBucket" => destination_bucket = map.next_value()?,
                "fileFormat" => file_format = map.next_value()?,
                "fileSchema" => file_schema = map.next_value()?,
                "files" => files = map.next_value::<Option<Vec<ManifestFile>>>()?,
                other => {
                    is_answer |= matches!(
                        other,
                        "CommonPrefixes"
                            | "DeleteMarkers"
                            | "IsTruncated"
                            | "KeyCount"
                            | "MaxKeys"
                            | "RequestCharged"
                            | "Prefix"
                    );
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if file_format.is_some() || files.is_some() {
            let missing = A::Error::missing_field;
            return Ok(Some(Manifest {
                source_bucket,
                destination_bucket: destination_bucket
                    .ok_or_else(|| missing("destinationBucket"))?,
                file_format: file_format.ok_or_else(|| missing("fileFormat"))?,
                file_schema: file_schema.ok_or_else(|| missing("fileSchema"))?,
                files: files.ok_or_else(|| missing("files"))?,
            }));
        }
        if entry.key.is_some() {
            taken(self.take, entry)?;
        } else if !is_answer {
            return Err(A::Error::custom(
                "the object has neither Contents nor Key, and is not a manifest of an S3 Inventory",
            ));
        }
        Ok(None)
    }
}

/// An array of entries.
struct List<'a> {
    take: Take<'a>,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of keys or of objects with a Key")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(Element(entry)) = seq.next_element()? {
            taken(&mut *self.take, entry)?;
        }
        Ok(())
    }
}

/// An element of an array: a key, an object, or a row such as `[Key, Size, ETag]`.
struct Element(Entry);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key, an object with a Key, or a row [Key, Size, ETag]")
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(Element(Entry::of(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element, A::Error> {
        let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
        if entry.key.is_none() {
            return Err(A::Error::missing_field("Key"));
        }
        Ok(Element(entry))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
        let mut entry = Entry::default();
        while let Some(cell) = seq.next_element()? {
            match cell {
                Field::Number(size) => entry.size = Some(size),
                Field::Text(text)
                    if text.len() > 2 && text.starts_with('"') && text.ends_with('"') =>
                {
                    entry.e_tag = Some(text);
                }
                Field::Text(text) if entry.key.is_none() => entry.key = Some(text),
                Field::Text(_) => {
                    return Err(A::Error::custom("a row has more strings than a key and an ETag"));
                }
                Field::Nothing(()) => {}
            }
        }
        if entry.key.is_some() { Ok(Element(entry)) } else { Err(A::Error::missing_field("Key")) }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Number(u64),
    Nothing(()),
}
