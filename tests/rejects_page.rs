//! The tables of reasons and notes in docs/rejects.md match the program.

use std::fs;
use std::path::Path;

use alb2parquet::internals::decode::gzip::Note;
use alb2parquet::internals::logs::reject::Reason;

#[test]
fn docs_rejects_has_every_reason_and_note_with_its_meaning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rejects.md");
    let page = fs::read_to_string(&path).unwrap();
    for reason in Reason::ALL {
        let row = format!("| `{reason}` | {}", reason.meaning());
        assert!(page.contains(&row), "docs/rejects.md has no row that begins with {row}");
    }
    for note in Note::ALL {
        let row = format!("| `{}` | {}", note.code(), note.meaning());
        assert!(page.contains(&row), "docs/rejects.md has no row that begins with {row}");
    }
}
