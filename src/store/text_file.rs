//! Reads text line by line from a path, a URL or standard input, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::store::{Network, Place, Source, StoreError, open};

/// Maximum window size of a zstd frame, as a base-2 logarithm: 128 MiB, the default limit of zstd.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Opens a text file and decompresses gzip or zstd data. `-` means standard input.
///
/// # Errors
///
/// Fails when the file does not exist, is not a regular file, or cannot be reached.
pub(crate) fn open_text(name: &str, network: &Network) -> Result<Box<dyn BufRead>, StoreError> {
    let raw: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin())
    } else {
        match Place::parse(name)? {
            Place::Local(path) => Box::new(open_file(&path)?),
            Place::Bucket(_) => Source::read_one(name, network)?,
        }
    };
    Ok(decompressed(raw)?)
}

/// Decompresses gzip and zstd data. Returns other data unchanged. Public for fuzz targets.
///
/// # Errors
///
/// Fails if the first bytes cannot be read.
#[doc(hidden)]
pub fn decompressed(raw: Box<dyn Read>) -> io::Result<Box<dyn BufRead>> {
    let (magic, raw) = peek(raw, 4)?;
    let raw = BufReader::new(raw);
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::new(MultiGzDecoder::new(raw)))
    } else if magic == [0x28, 0xb5, 0x2f, 0xfd] {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Box::new(BufReader::new(decoder))
    } else {
        Box::new(raw)
    })
}

/// Reads the first bytes. Returns them together with a reader that yields them again.
fn peek<R: Read>(mut raw: R, count: u64) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    raw.by_ref().take(count).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(raw)))
}

/// Opens a regular file, or a file descriptor that the shell has opened. Rejects anything else, because it could block
/// forever.
fn open_file(path: &Path) -> io::Result<File> {
    let is_open = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"];
    if path.to_str().is_some_and(|path| is_open.iter().any(|dir| path.starts_with(dir))) {
        return File::open(path);
    }
    open::regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => io::Error::other("it is a directory, not a file"),
        io::ErrorKind::InvalidInput => io::Error::other(
            "it is a pipe, a device or a socket: specify a regular file, or - for standard input",
        ),
        _ => error,
    })
}

/// Reads text line by line. The line length is limited so that no input can exhaust memory.
pub(crate) struct Lines<R> {
    input: R,
    limit: usize,
    separators: &'static [u8],
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Returns a reader for lines of at most `limit` bytes, separated by any of the given bytes.
    pub(crate) fn new(input: R, limit: usize, separators: &'static [u8]) -> Self {
        Self { input, limit, separators, number: 0, line: Vec::new() }
    }

    /// Returns the next line, without its separator, and its line number, starting at 1. Separators other than line
    /// feeds do not increase the line number.
    ///
    /// # Errors
    ///
    /// Fails when the input cannot be read, or when the line is longer than the limit.
    #[allow(clippy::should_implement_trait)] // an iterator cannot return a borrowed line
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        self.line.clear();
        let number = self.number + 1;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            let end = available.iter().position(|byte| self.separators.contains(byte));
            let taken = &available[..end.unwrap_or(available.len())];
            if self.line.len() + taken.len() > self.limit {
                let why = format!("line {number} is longer than {} bytes", self.limit);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let is_over = available.is_empty();
            self.line.extend_from_slice(taken);
            let used = taken.len() + usize::from(end.is_some());
            let separator = end.map(|end| available[end]);
            self.input.consume(used);
            if separator.is_some() || is_over {
                let counts = separator == Some(b'\n') || self.separators[0] != b'\n';
                self.number += u64::from(counts);
                let is_end = is_over && self.line.is_empty();
                return Ok((!is_end).then_some((number, self.line.as_slice())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], limit: usize, separators: &'static [u8]) -> Vec<(u64, Vec<u8>)> {
        // The buffer holds only three bytes, so that lines span several reads.
        let mut lines = Lines::new(BufReader::with_capacity(3, text), limit, separators);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            all.push((number, line.to_vec()));
        }
        all
    }

    #[test]
    fn lines_are_numbered_and_bounded() {
        let of = |number, line: &str| (number, line.as_bytes().to_vec());
        let all = lines(b"first\n\nthird", 5, b"\n");
        assert_eq!(all, [of(1, "first"), of(2, ""), of(3, "third")]);
        assert_eq!(lines(b"a\tb\nc", 5, b"\n\t"), [of(1, "a"), of(1, "b"), of(2, "c")]);
        assert_eq!(lines(b"a\nb\0c\0", 5, b"\0"), [of(1, "a\nb"), of(2, "c")]);
        assert_eq!(lines(b"", 5, b"\n"), []);
        let endless = BufReader::new(io::repeat(b'x'));
        let error = Lines::new(endless, 1 << 16, b"\n").next().unwrap_err();
        assert_eq!(error.to_string(), "line 1 is longer than 65536 bytes");
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = std::env::temp_dir();
        let error = open_file(&directory).unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
        let error = open_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("device"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_that_replaces_a_file_does_not_block() {
        use std::sync::mpsc;
        use std::time::{Duration, Instant};
        use std::{fs, thread};

        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let (named, (opened, end)) = (at("list"), mpsc::channel());
        let began = Instant::now();
        // The thread is not joined, so that the test fails instead of hanging if the thread blocks.
        thread::spawn(move || {
            while began.elapsed() < Duration::from_secs(1) {
                // The path may be a file or a FIFO, or may not exist yet.
                let _ = open_file(&named);
            }
            opened.send(()).unwrap();
        });
        while end.try_recv().is_err() {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "the thread blocks until a writer opens the FIFO"
            );
            fs::write(at("new"), "text").unwrap();
            fs::rename(at("new"), at("list")).unwrap();
            fs::hard_link(at("fifo"), at("link")).unwrap();
            fs::rename(at("link"), at("list")).unwrap();
        }
    }
}
