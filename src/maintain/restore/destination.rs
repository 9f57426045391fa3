//! Writes restored objects to a directory or a bucket. An object appears under its key only when it is complete and
//! verified, and never replaces another object.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};
use parquet::file::reader::ChunkReader;

use crate::dataset::claim::Claimed;
use crate::dataset::file::PublishedFile;
use crate::decode::gzip::{Note, Stream};
use crate::decode::text_buffer::Text;
use crate::logs::schema::LogType;
use crate::store::{Completed, Created, FileKey, Target, Writing};

/// Gzip compression level: the fastest. Any other level would take longer than all other work combined.
const LEVEL: i32 = 1;
/// Number of attempts to create an object.
const ATTEMPTS: usize = 3;

/// The result of writing an object to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It was written.
    Written,
    /// It already existed with the same text.
    Existed,
}

/// An object to write.
pub(super) struct Content<'a> {
    pub(super) key: &'a FileKey,
    pub(super) text: &'a [u8],
    pub(super) claimed: &'a Claimed,
    pub(super) is_gzip: bool,
}

/// Returns whether an object is compressed. Objects that were plain text remain plain text.
pub(super) fn is_gzip(log_type: LogType, key: &str, claimed: &Claimed) -> bool {
    let delivers = log_type.table().load_balancer.delivers_gzip();
    let is_text = claimed.notes.iter().any(|note| note == Note::PlainText.code());
    !is_text && (delivers || key.rsplit('.').next() == Some("gz"))
}

/// Compares an object in the destination with a claimed object.
///
/// # Errors
///
/// Fails if the text differs, or if the object cannot be read.
pub(super) fn compare(
    target: &Arc<dyn Target>,
    key: &FileKey,
    size: u64,
    claimed: &Claimed,
) -> anyhow::Result<()> {
    let file = PublishedFile::in_target(target, key.clone(), size);
    let name = || target.name(key);
    let read = || -> anyhow::Result<(u64, Option<u32>)> {
        let mut stream = Stream::new(0, size, Box::new(file.get_read(0)?))?;
        let (mut text, mut bytes, mut crc32) = (Text::default(), 0, None);
        while let Some(decompressed) = stream.next(text)? {
            for segment in &decompressed.segments {
                bytes += segment.bytes;
                crc32 = segment.crc32;
            }
            text = decompressed.text;
        }
        Ok((bytes, crc32))
    };
    let (bytes, crc32) = read().with_context(|| format!("{} exists but cannot be read", name()))?;
    if crc32.is_none() || crc32 != claimed.crc32 || Some(bytes) != claimed.uncompressed_size {
        bail!("{} exists with different content; it was not overwritten", name());
    }
    Ok(())
}

/// Writes a small object.
///
/// # Errors
///
/// Fails if another object has the key, or if the object cannot be written.
pub(super) fn create(target: &Arc<dyn Target>, content: &Content<'_>) -> anyhow::Result<Placed> {
    thread_local! {
        static COMPRESSOR: RefCell<Compressor> = RefCell::new(Compressor::new(
            CompressionLvl::new(LEVEL).expect("is a level of libdeflate"),
        ));
    }
    let Content { key, text, claimed, is_gzip } = content;
    let compressed;
    let bytes = if *is_gzip {
        compressed = COMPRESSOR.with_borrow_mut(|compressor| gzip(compressor, text));
        &compressed[..]
    } else {
        text
    };
    for _ in 0..ATTEMPTS {
        match target.create_non_durable(key, bytes)? {
            Created::Now => return Ok(Placed::Written),
            Created::Before => {
                if let Some(size) = target.size(key)? {
                    compare(target, key, size, claimed)?;
                    return Ok(Placed::Existed);
                }
            }
        }
    }
    bail!("{} cannot be created, although it does not exist", target.name(key))
}

fn gzip(compressor: &mut Compressor, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
    let length = compressor.gzip_compress(text, &mut bytes).expect("the buffer is large enough");
    bytes.truncate(length);
    bytes
}

/// A large object that is being written. On drop, it is discarded unless it was finished.
pub(super) struct Large {
    target: Arc<dyn Target>,
    key: FileKey,
    writing: Encoded,
}

enum Encoded {
    Gzip(Box<GzEncoder<Writing>>),
    Text(Writing),
}

impl Large {
    /// Starts writing an object.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be written to.
    pub(super) fn begin(
        target: &Arc<dyn Target>,
        key: &FileKey,
        is_gzip: bool,
    ) -> anyhow::Result<Self> {
        let writing = Writing::begin(target, key.clone())?;
        let level = Compression::new(LEVEL as u32);
        let writing = if is_gzip {
            Encoded::Gzip(Box::new(GzEncoder::new(writing, level)))
        } else {
            Encoded::Text(writing)
        };
        Ok(Self { target: Arc::clone(target), key: key.clone(), writing })
    }

    /// Publishes the object under its key.
    ///
    /// # Errors
    ///
    /// Fails if another object has the key, or if the object cannot be written.
    pub(super) fn finish(self, claimed: &Claimed) -> anyhow::Result<Placed> {
        let Self { target, key, writing } = self;
        let mut writing = match writing {
            Encoded::Gzip(encoder) => encoder.finish()?,
            Encoded::Text(writing) => writing,
        };
        let staged = writing.seal()?;
        // Completing the upload would replace an object that another program has written in the meantime.
        if let Some(size) = target.size(&key)? {
            compare(&target, &key, size, claimed)?;
            return Ok(Placed::Existed);
        }
        match target.complete(&staged)? {
            Completed::Visible => {
                target.forget(&staged.staged);
                writing.keep();
                Ok(Placed::Written)
            }
            Completed::Lost => bail!("{} was deleted while it was written", target.name(&key)),
        }
    }
}

impl Write for Large {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writing {
            Encoded::Gzip(encoder) => encoder.write(bytes),
            Encoded::Text(writing) => writing.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
