//! Compression of pages.

use std::cell::RefCell;
use std::io;

use parquet::basic;
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// What a page is made of, which decides how Zstandard is set up for it; see `benches/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Text in which words and phrases come again.
    Prose,
    /// Keys and numbers: at most neighbouring bytes come again.
    Numbers,
    /// Random ids: made of few characters, and hardly ever two alike.
    Ids,
}

impl Content {
    /// Returns the level and the logarithm of the size of the table of matches (0: as the level says).
    fn zstd(self) -> (i32, u32) {
        match self {
            Self::Prose => (1, 15),
            Self::Numbers => (1, 0),
            // Looks for matches at every fourth place or so. Those it misses are mostly accidents, and
            // not worth their bytes; what saves space is that few characters need few bits.
            Self::Ids => (-3, 0),
        }
    }
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// Snappy.
    Snappy,
    /// Not at all.
    None,
}

impl Compression {
    pub(super) fn codec(self) -> basic::Compression {
        match self {
            Self::Zstd => basic::Compression::ZSTD(basic::ZstdLevel::default()),
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
            Compression::Zstd => zstd::zstd_safe::compress_bound(page.len()),
            Compression::Snappy => snap::raw::max_compress_len(page.len()),
        };
        if compressed.len() < room {
            compressed.resize(room, 0);
        }
        let size = match how {
            Compression::Zstd => {
                if zstd.is_none() {
                    *zstd = Some(zstd::bulk::Compressor::default());
                }
                let zstd = zstd.as_mut().expect("was just made");
                let (level, hash_log) = what.zstd();
                zstd.set_compression_level(level)?;
                zstd.set_parameter(CParameter::HashLog(hash_log))?;
                // Below level 1, the default is to leave bytes without a match as they are.
                zstd.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
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
