//! Checks the structure of `src`: imports go in one direction, every file has a doc comment, and only one module
//! prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files directly in `src`, to which the import rule does not apply.
const ROOT: [&str; 3] = ["lib.rs", "main.rs", "internals.rs"];

/// Returns every source file's path (relative to `src`) and text.
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

/// Returns the folders of `src` with their levels, from the import rule in ARCHITECTURE.md.
fn levels() -> Vec<(String, usize)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rule = text.lines().find(|line| line.starts_with("util < ")).expect("the import rule");
    let mut levels = Vec::new();
    for (level, group) in rule.split(" < ").enumerate() {
        let folders = group.trim_start_matches('{').trim_end_matches('}').split(',');
        levels.extend(folders.map(|folder| (folder.trim().to_owned(), level)));
    }
    levels
}

/// Returns the modules that a folder's root file makes visible to other folders.
fn declared(folder: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(format!("src/{folder}.rs"))).unwrap();
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub(crate) mod "));
    modules.map(|module| format!("{folder}/{}", module.trim_end_matches(';'))).collect()
}

/// Returns the folders that a source file imports from, each with the line number of the import.
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

/// Asserts that the import of `used` on line `line` of `file` is allowed.
fn check_import(levels: &[(String, usize)], file: &str, line: usize, used: &str) {
    let level = |folder: &str| {
        let found = levels.iter().find(|(name, _)| name == folder);
        found.unwrap_or_else(|| panic!("src/{file}:{line}: `{folder}` is not in the import rule")).1
    };
    let folder = file.split(['/', '.']).next().unwrap();
    assert!(
        used == folder || level(used) < level(folder),
        "src/{file}:{line}: `{folder}` must not import from `{used}`; see the rule in ARCHITECTURE.md"
    );
}

#[test]
fn the_table_of_modules_has_every_module_in_the_order_of_the_rule() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| module"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows.map(|row| row.split('`').nth(1).expect("a module")).collect();
    let mut expected = Vec::new();
    for (folder, _) in levels() {
        let mut modules = declared(&folder);
        modules.sort();
        expected.push(folder);
        expected.extend(modules);
    }
    assert_eq!(rows, expected, "the module table in ARCHITECTURE.md differs from src");
}

#[test]
fn every_file_belongs_to_a_folder_of_the_rule() {
    let levels = levels();
    for (file, _) in sources() {
        let folder = file.split(['/', '.']).next().unwrap();
        let known = levels.iter().any(|(name, _)| name == folder);
        assert!(known || ROOT.contains(&&*file), "src/{file} is in no folder of the import rule");
    }
}

#[test]
fn folders_import_only_from_folders_before_them() {
    let levels = levels();
    let mut checked = 0;
    for (file, text) in sources() {
        if ROOT.contains(&&*file) {
            continue;
        }
        for (line, used) in uses(&text) {
            check_import(&levels, &file, line, &used);
            checked += 1;
        }
    }
    assert!(checked > 300, "only {checked} imports were found: does this test still parse them?");
}

/// The import rule alone would allow these imports, but the store code must not depend on the kinds of files stored.
#[test]
fn stores_do_not_depend_on_logs() {
    for (file, text) in sources().iter().filter(|(file, _)| file.starts_with("store")) {
        for (line, used) in uses(text) {
            assert!(used != "logs", "src/{file}:{line}: `store` must not import from `logs`");
        }
    }
}

/// If the two decoders shared code, a bug in that code would go unnoticed.
#[test]
fn the_reference_decoder_shares_no_code_with_the_decoder() {
    const REFERENCE: &str = "maintain/verify/reference";
    let sources = sources();
    let files: Vec<_> = sources.iter().filter(|(file, _)| file.starts_with(REFERENCE)).collect();
    assert_eq!(files.len(), 3, "{REFERENCE}.rs and its modules");
    for (file, text) in files {
        for (line, used) in uses(text) {
            assert!(
                used == "logs" || used == "maintain",
                "src/{file}:{line} imports from `{used}`"
            );
        }
        let own = text.matches("crate::maintain::verify::reference").count();
        assert_eq!(text.matches("crate::maintain").count(), own, "src/{file}");
    }
}

#[test]
fn an_import_against_the_rule_is_detected() {
    let levels = levels();
    let refused = |file: &str, code: &str| {
        let uses = uses(code);
        assert_eq!(uses.len(), 1, "{code}");
        std::panic::catch_unwind(|| check_import(&levels, file, 1, &uses[0].1)).is_err()
    };
    assert!(!refused("decode/gzip.rs", "use crate::logs::key::Key;"));
    assert!(!refused("decode/gzip.rs", "use crate::decode::columns;"));
    assert!(refused("decode/gzip.rs", "use crate::encode::Format;"), "in the same braces");
    assert!(refused("decode/gzip.rs", "let plan = crate::plan::Plan::default();"), "upward");
    assert!(refused("elsewhere.rs", "use crate::logs::key::Key;"), "in no folder");
}

/// Returns the program's long flags (from its completions) and its subcommands (from its help).
fn flags_and_commands() -> (BTreeSet<String>, BTreeSet<String>) {
    let completions = run(&["completions", "bash"]).expect(0).stdout;
    let words = completions.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags = words.filter(|word| word.len() > 3 && word.starts_with("--"));
    let help = run(&["--help"]).expect(0).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = listed.take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    (flags.map(ToOwned::to_owned).collect(), commands.map(ToOwned::to_owned).collect())
}

/// Returns the first flag, command or environment variable in a line of code. Only `cli` may name these.
fn of_command_line<'a>(
    code: &str,
    flags: &'a BTreeSet<String>,
    commands: &'a BTreeSet<String>,
) -> Option<&'a str> {
    // Messages may name flags of these programs, which print object lists.
    const OTHERS: [&str; 3] = ["aws s3 ", "aws s3api ", "s5cmd "];
    if code.contains("ALB2PARQUET_") {
        return Some("ALB2PARQUET_");
    }
    let is_whole = |at: usize, length: usize| {
        let next = code[at + length..].chars().next();
        next.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
    };
    let flag = flags.iter().find(|flag| {
        let mut found = code.match_indices(flag.as_str());
        found.any(|(at, _)| {
            is_whole(at, flag.len()) && !OTHERS.iter().any(|other| code[..at].contains(other))
        })
    });
    let command = commands.iter().find(|command| {
        let named = ["`", "`alb2parquet ", "<code>alb2parquet "];
        named.iter().any(|before| {
            let text = format!("{before}{command}");
            code.match_indices(&text).any(|(at, _)| is_whole(at, text.len()))
        })
    });
    flag.or(command).map(String::as_str)
}

/// The library's errors state the problem. `cli::hint` adds the flag or command that fixes it.
#[test]
fn only_cli_names_flags_commands_and_variables() {
    /// The file metadata stores redaction rules as flags.
    const FORMAT: [(&str, &str); 1] = [("redact.rs", "--redact")];
    let (flags, commands) = flags_and_commands();
    assert!(flags.contains("--target-file-size") && flags.contains("--out"), "{flags:?}");
    assert!(commands.contains("convert") && commands.contains("repair"), "{commands:?}");
    let found = |code: &str| of_command_line(code, &flags, &commands);
    assert_eq!(found("\"another --out\""), Some("--out"));
    assert_eq!(found("\"--batches {name} cannot be read\""), Some("--batches"));
    assert_eq!(found("\"then run `convert` again\""), Some("convert"));
    assert_eq!(found("\"`plan --jsonl` prints batches\""), Some("--jsonl"));
    assert_eq!(found("\"the key in ALB2PARQUET_REDACT_KEY\""), Some("ALB2PARQUET_"));
    assert_eq!(found("\"the output of s5cmd --json ls\""), None);
    assert_eq!(found("\"a lowercase word such as `converted` or a b--output\""), None);
    let page = fs::read_to_string(root().join("src/report/html/report.html")).unwrap();
    for (file, text) in sources().into_iter().chain([("report/html/report.html".to_owned(), page)])
    {
        if file.starts_with("cli") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            let Some(name) = found(code) else { continue };
            assert!(
                FORMAT.contains(&(&file, name)),
                "src/{file}:{number} names {name}, which only `cli` may: {}",
                line.trim()
            );
        }
    }
}

#[test]
fn every_file_begins_with_a_doc_comment() {
    for (file, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        let has_sentence = first.strip_prefix("//! ").is_some_and(|sentence| sentence.len() > 10);
        assert!(has_sentence, "src/{file} begins with {first:?} instead of a `//!` line");
    }
}

/// Excludes test modules and `cli`, whose modules are named after the commands that they parse.
#[test]
fn no_two_modules_share_a_name() {
    let mut modules = std::collections::BTreeMap::<String, String>::new();
    for (file, _) in sources() {
        let name = file.trim_end_matches(".rs").rsplit('/').next().unwrap().to_owned();
        if file.starts_with("cli") || name == "tests" {
            continue;
        }
        if let Some(other) = modules.insert(name, file.clone()) {
            panic!("src/{file} and src/{other} have the same name");
        }
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
            "src/{file}: name a module foo.rs, and put its submodules into foo/"
        );
    }
}
