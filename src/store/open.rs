//! Opens files without blocking on FIFOs and devices.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a regular file for reading, following links.
///
/// # Errors
///
/// Fails when the file does not exist, cannot be read, or is not a regular file. Opening a FIFO without a writer would
/// block forever, and reading a device might never end.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    // The check must come before opening, because opening a device can have side effects.
    check(path)?;
    let mut options = OpenOptions::new();
    options.read(true);
    // A FIFO may have replaced the file in the meantime.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    expect(file.metadata()?.file_type())?;
    Ok(file)
}

/// Checks that a path refers to a regular file or to a link to one.
///
/// # Errors
///
/// Fails like [`regular`].
fn check(path: &Path) -> io::Result<()> {
    expect(fs::metadata(path)?.file_type())
}

fn expect(file_type: FileType) -> io::Result<()> {
    let error = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    match kind(file_type) {
        _ if file_type.is_file() => Ok(()),
        _ if file_type.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        kind => error(format!("not a regular file but {kind}")),
    }
}

#[cfg(unix)]
fn kind(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(_: FileType) -> &'static str {
    "something else"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_others_do_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let _listener = UnixListener::bind(at("socket")).unwrap();
        for (link, target) in [
            ("to-file", at("file")),
            ("to-fifo", at("fifo")),
            ("to-device", "/dev/zero".into()),
            ("to-nothing", at("nothing")),
        ] {
            symlink(target, at(link)).unwrap();
        }
        for name in ["file", "to-file"] {
            assert_eq!(io::read_to_string(regular(&at(name)).unwrap()).unwrap(), "text");
        }
        for (name, kind) in [
            ("fifo", "a FIFO"),
            ("to-fifo", "a FIFO"),
            ("socket", "a socket"),
            ("to-device", "a device"),
        ] {
            let message = regular(&at(name)).unwrap_err().to_string();
            assert_eq!(message, format!("not a regular file but {kind}"), "{name}");
        }
        assert_eq!(regular(&at("to-nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(regular(&at(".")).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
