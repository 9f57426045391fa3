//! Compression of pages.

use std::cell::RefCell;
use std::io;

use parquet::basic;

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

    /// Returns the compressed form of a page's bytes.
    pub(super) fn compress(self, page: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(level) => ZSTD.with_borrow_mut(|held| {
                if held.as_ref().is_none_or(|(of, _)| *of != level) {
                    *held = Some((level, zstd::bulk::Compressor::new(level)?));
                }
                let (_, compressor) = held.as_mut().expect("was just made");
                compressor.compress(page)
            }),
            Self::Snappy => snap::raw::Encoder::new()
                .compress_vec(page)
                .map_err(io::Error::other),
            Self::None => Ok(page.to_vec()),
        }
    }
}

thread_local! {
    // A compressor holds a megabyte or two: one per worker rather than one per column.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> =
        const { RefCell::new(None) };
}
