//! Compression of pages.

use std::cell::RefCell;
use std::io;

use parquet::basic;

/// What a page is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Text in which words and phrases come again.
    Prose,
    /// Keys, numbers, random ids: at most neighbouring bytes come again.
    ///
    /// On these, Zstandard above level 1 takes twice the time to find matches that are accidents, and
    /// its pages are larger.
    Noise,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, with its level.
    Zstd(i32),
    /// Snappy.
    Snappy,
    /// Not at all.
    None,
}

impl Compression {
    pub(super) fn codec(self) -> basic::Compression {
        match self {
            Self::Zstd(level) => basic::Compression::ZSTD(
                basic::ZstdLevel::try_new(level).expect("levels are checked where they come in"),
            ),
            Self::Snappy => basic::Compression::SNAPPY,
            Self::None => basic::Compression::UNCOMPRESSED,
        }
    }
}

/// Memory that a worker writes page after page into.
#[derive(Default)]
pub(super) struct Scratch {
    /// The page before compression.
    pub(super) page: Vec<u8>,
    compressed: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Scratch {
    /// Returns the compressed form of the page.
    pub(super) fn compress(&mut self, how: Compression, what: Content) -> io::Result<&[u8]> {
        let Self { page, compressed, zstd } = self;
        let room = match how {
            Compression::None => return Ok(page),
            Compression::Zstd(_) => zstd::zstd_safe::compress_bound(page.len()),
            Compression::Snappy => snap::raw::max_compress_len(page.len()),
        };
        if compressed.len() < room {
            compressed.resize(room, 0);
        }
        let size = match how {
            Compression::Zstd(level) => {
                let level = if what == Content::Noise { level.min(1) } else { level };
                if zstd.is_none() {
                    *zstd = Some(zstd::bulk::Compressor::new(level)?);
                }
                let zstd = zstd.as_mut().expect("was just made");
                zstd.set_compression_level(level)?;
                zstd.compress_to_buffer(page, compressed.as_mut_slice())?
            }
            _ => snap::raw::Encoder::new().compress(page, compressed).map_err(io::Error::other)?,
        };
        Ok(&compressed[..size])
    }
}

thread_local! {
    /// A compressor holds a megabyte or two: one per worker rather than one per column.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}
