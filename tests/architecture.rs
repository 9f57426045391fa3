//! Imports go one way along the data's path; files say what they are; one module prints.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with its text, by its path below `src`.
fn sources() -> Vec<(String, String)> {
    fn visit(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    visit(&src, &mut files);
    files.sort();
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The modules in the order of the data's way, as `src/lib.rs` has them.
fn order() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    modules.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// Top-level modules that a text names, with the line where it does.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap();
        for (at, path) in code.match_indices("crate::") {
            let name = &code[at + path.len()..];
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            assert!(
                end > 0,
                "one `use crate::…` per module, so that this test can read it: {line}"
            );
            uses.push((number, name[..end].to_owned()));
        }
    }
    uses
}

#[test]
fn the_table_of_modules_is_whole() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| module"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let named = rows.map(|row| row.split('`').nth(1).expect("a row begins with a module"));
    let mut named: Vec<&str> = named.collect();
    let mut order = order();
    named.sort_unstable();
    order.sort();
    assert_eq!(named, order, "the table in ARCHITECTURE.md and the modules of src/lib.rs");
}

#[test]
fn imports_go_one_way() {
    let order = order();
    let place = |module: &str| order.iter().position(|name| name == module);
    let mut checked = 0;
    for (file, text) in sources() {
        let module = file.split(['/', '.']).next().unwrap();
        let Some(own) = place(module) else {
            assert!(["lib", "main"].contains(&module), "{file} is a module of src/lib.rs");
            continue;
        };
        for (line, used) in uses(&text) {
            let used_place = place(&used)
                .unwrap_or_else(|| panic!("src/{file}:{line}: crate::{used} is a module"));
            assert!(
                used_place <= own,
                "src/{file}:{line} uses `{used}`, which comes after `{module}` on the data's way: {order:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} uses were found: does this test still read them?");
}

#[test]
fn a_file_begins_by_saying_what_it_is() {
    for (file, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        let said = first.strip_prefix("//! ").is_some_and(|sentence| sentence.len() > 10);
        assert!(said, "src/{file} begins with {first:?} instead of a `//!` line");
    }
}

#[test]
fn only_the_terminal_prints() {
    const TERMINAL: &str = "cli/terminal.rs";
    for (file, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap();
            let prints = [
                "print!(",
                "println!(",
                "eprint!(",
                "eprintln!(",
                "dbg!(",
                "io::stdout()",
                "io::stderr()",
            ];
            if let Some(found) = prints.iter().find(|prints| code.contains(**prints)) {
                assert_eq!(file, TERMINAL, "src/{file}:{number} uses {found}");
            }
        }
    }
}

#[test]
fn there_is_no_mod_rs() {
    for (file, _) in sources() {
        assert!(
            !file.ends_with("mod.rs"),
            "src/{file}: a module stands in foo.rs, its parts in foo/"
        );
    }
}
