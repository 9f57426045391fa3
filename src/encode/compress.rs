//! Compression of pages.

use std::cell::RefCell;
use std::io;

use parquet::basic;
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// What a page holds, as far as compression is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Texts, or the distinct values of a column.
    Values,
    /// Keys of a dictionary, or numbers.
    Numbers,
}

impl Content {
    /// Returns Zstandard's level, which says how thoroughly it looks for matches. Those it misses are mostly accidents,
    /// since what repeats as a whole is a key, and what a text shares with the one before is not stored; what
    /// saves space is that few characters need few bits. See `benches/README.md`.
    fn zstd_level(self) -> i32 {
        match self {
            Self::Values => -1,
            Self::Numbers => -60,
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
    pub(super) fn compress(&mut self, how: Compression, content: Content) -> io::Result<&[u8]> {
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
                let zstd = match zstd {
                    Some(zstd) => zstd,
                    None => zstd.insert(compressor()?),
                };
                zstd.set_compression_level(content.zstd_level())?;
                zstd.compress_to_buffer(page, compressed.as_mut_slice())?
            }
            _ => snap::raw::Encoder::new().compress(page, compressed).map_err(io::Error::other)?,
        };
        Ok(&compressed[..size])
    }
}

fn compressor() -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut zstd = zstd::bulk::Compressor::default();
    // Below level 1, the default is to leave bytes without a match as they are.
    zstd.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    Ok(zstd)
}

thread_local! {
    /// A compressor holds a megabyte or two: one per worker rather than one per column.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}
