//! The README's tables of reasons and notes say what the program says.

use std::fs;
use std::path::Path;

use alb2parquet::internals::decode::gzip::Note;
use alb2parquet::internals::logs::reject::Reason;

#[test]
fn the_reasons_are_those_of_the_rejects() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    for reason in Reason::ALL {
        let row = format!("| `{reason}` | {}", reason.meaning());
        assert!(readme.contains(&row), "README.md has a row that begins with {row}");
    }
    for note in Note::ALL {
        let row = format!("| `{}` | {}", note.code(), note.meaning());
        assert!(readme.contains(&row), "README.md has a row that begins with {row}");
    }
}
