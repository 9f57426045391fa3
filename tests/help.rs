//! Help, version, completions and manual pages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use alb2parquet::internals::logs::schema::LogType;
use tempfile::TempDir;

use crate::support::{program, run, run_command};

/// Returns the first word of each line in a section of the help text.
fn names(help: &str, heading: &str) -> Vec<String> {
    let (_, rest) = help.split_once(heading).unwrap_or_default();
    let lines = rest.lines().skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// Returns the help text of every command, keyed by the command's words.
fn commands() -> BTreeMap<Vec<String>, String> {
    let mut commands = BTreeMap::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(&args).expect(0).stdout;
        for name in names(&help, "Commands:") {
            if name != "help" {
                open.push([&words[..], &[name]].concat());
            }
        }
        commands.insert(words, help);
    }
    assert!(commands.len() >= 14, "{:?}", commands.keys());
    commands
}

#[test]
fn every_help_page_lists_exit_codes_and_examples() {
    for (words, help) in commands() {
        for part in ["\nExit codes:\n  0  ", "\n  3  ", "\nExamples:\n  "] {
            assert!(help.contains(part), "the help of {words:?} lacks {part:?}: {help}");
        }
    }
}

#[test]
fn the_long_version_lists_the_supported_formats() {
    let short = run(&["-V"]).expect(0).stdout;
    assert_eq!(short, format!("alb2parquet {}\n", env!("CARGO_PKG_VERSION")));
    let long = run(&["--version"]).expect(0).stdout;
    assert!(long.starts_with(&short), "{long}");
    for line in [
        "access        36 fields, the last added in 2026",
        "connection    15 ",
        "health_check  10 ",
        "nlb_tls       22 ",
        "classic       15 fields, the last added in 2015-07",
    ] {
        assert!(long.contains(line), "{line} is missing in {long}");
    }
    assert!(long.contains("format version 4, or 5 if redacted"), "{long}");
}

/// Every option that takes a log type lists all log types, each with its table.
#[test]
fn log_types_are_described_with_their_tables() {
    let with_type = commands().into_iter().filter(|(_, help)| help.contains("--log-type"));
    let mut described = 0;
    for (words, help) in with_type {
        for log_type in LogType::ALL {
            assert!(help.contains(log_type.as_str()), "the help of {words:?} lacks {log_type}");
        }
        if help.contains("- access:") {
            described += 1;
            for log_type in LogType::ALL {
                let table = &log_type.table().name;
                let line = help.lines().find(|line| line.contains(&format!("- {log_type}:")));
                assert!(line.is_some_and(|line| line.ends_with(table)), "{words:?}: {line:?}");
            }
        }
    }
    assert!(described >= 5, "{described} commands");
}

#[test]
fn colors_are_printed_only_on_request() {
    for args in [&["--help"][..], &["convert", "--nonsense"]] {
        let with = |variables: &[(&str, &str)]| {
            let run = run_command(program(args).envs(variables.iter().copied()));
            run.stdout + &run.stderr
        };
        let color = "\u{1b}[";
        assert!(!with(&[]).contains(color), "a pipe has no colors");
        assert!(with(&[("CLICOLOR_FORCE", "1")]).contains(color), "{args:?}");
        assert!(!with(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains(color), "{args:?}");
    }
}

#[test]
fn completions_contain_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]).expect(0);
        assert_eq!(script.stderr, "");
        for (words, help) in commands() {
            for word in words {
                assert!(script.stdout.contains(&word), "completions of {shell} lack {word}");
            }
            for flag in names(&help, "Options:").iter().filter_map(|flag| flag.strip_prefix("--")) {
                assert!(script.stdout.contains(flag), "completions of {shell} lack --{flag}");
            }
        }
    }
    run(&["completions", "tcsh"]).expect(3).says(&["tcsh", "bash"]);
}

#[test]
fn bash_completes_a_command_and_a_flag() {
    let script = run(&["completions", "bash"]).expect(0).stdout;
    let complete = |words: &str, last: usize| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD={last}\n_alb2parquet alb2parquet \
             \"${{COMP_WORDS[{last}]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let mut bash = Command::new("bash")
            .args(["--norc", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        bash.stdin.take().unwrap().write_all(ask.as_bytes()).unwrap();
        String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(complete("alb2parquet conv", 1), "convert\n");
    assert_eq!(complete("alb2parquet convert --red", 2), "--redact\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = TempDir::new().unwrap();
    let pages = dir.path().join("man/man1");
    let printed = run(&["man", "--dir", pages.to_str().unwrap()]).expect(0);
    assert_eq!(printed.stdout, "");
    let commands = commands();
    assert!(printed.stderr.starts_with(&format!("{} pages", commands.len())), "{printed:?}");
    for words in commands.keys() {
        let name = ["alb2parquet"].into_iter().chain(words.iter().map(String::as_str));
        let name = name.collect::<Vec<_>>().join("-");
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "\"EXAMPLES\""] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{name} lacks {section}: {page}");
        }
        assert!(!page.contains("EXTRA") && !page.contains("Exit codes:"), "{page}");
        // `man COMMAND` prints the same page.
        let args: Vec<&str> = ["man"].into_iter().chain(words.iter().map(String::as_str)).collect();
        assert_eq!(run(&args).expect(0).stdout, page);
    }
    assert_eq!(fs::read_dir(&pages).unwrap().count(), commands.len());
    run(&["man", "nonsense"]).expect(3).says(&["nonsense"]);
    run(&["man", "--dir", "/dev/null/x"]).expect(3).says(&["--dir /dev/null/x"]);
}
