//! The instruction vectors of fixtures/instructions, run on every engine.
//!
//! `TESTUDO_ACCEPT=1 cargo test -p x86_cpu --test vectors` writes the disassembly of the bytes behind the `;` of each `code` line.

mod check;
mod descriptor;
mod disassembly;
mod engine;
mod frame;
mod machine;
mod page_tables;
mod text;
mod values;

use std::path::PathBuf;

use engine::{Blocks, Engine, Moves, Steps};
use text::Case;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/instructions")
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut errors = Vec::new();
    for (name, text) in text::files(&folder()) {
        match text::parse(&name, &text) {
            Ok(read) => cases.extend(read),
            Err(messages) => errors.extend(messages),
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    cases
}

/// Every difference of every case, a line each.
fn run_all<E: Engine>() {
    let cases = cases();
    let failures: Vec<String> = cases.iter().flat_map(check::run::<E>).collect();
    assert!(
        failures.is_empty(),
        "{} differences in {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn vectors_hold_in_blocks() {
    run_all::<Blocks>();
}

#[test]
fn vectors_hold_step_by_step() {
    run_all::<Steps>();
}

#[test]
fn vectors_hold_across_moves() {
    run_all::<Moves>();
}

#[test]
fn comments_are_what_the_bytes_are() {
    if std::env::var_os("TESTUDO_ACCEPT").is_some() {
        disassembly::accept(&folder());
    }
    let failures: Vec<String> = cases().iter().flat_map(disassembly::differences).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A runner that passes everything proves nothing: one word of a case that holds is changed at a time, and each must be noticed.
#[test]
fn a_wrong_expectation_is_noticed() {
    let good = "case probe\nsdm 2A ADD\nmode long64\ngiven rax=1 rbx=0x30000\n\
        code 01 03 ; add [rbx],eax\nexpect m32[0x30000]=1 flags=-CF\n";
    let run = |text: &str| {
        let cases = text::parse("probe", text).unwrap_or_else(|errors| panic!("{errors:?}"));
        check::run::<Steps>(&cases[0])
    };
    assert_eq!(run(good), Vec::<String>::new());
    for (old, new) in [
        ("m32[0x30000]=1", "m32[0x30000]=2"),
        ("m32[0x30000]=1", "rax=1"),
        ("flags=-CF", "flags=+CF"),
        ("flags=-CF", "rdx=7"),
        ("flags=-CF", "ds=0x20"),
        ("expect", "expect fault #UD\nexpect"),
        ("expect", "expect exit halt\nexpect"),
        ("expect", "steps 2\nexpect"),
        ("flags=-CF", "cr4=+PGE"),
    ] {
        let changed = good.replace(old, new);
        assert!(!run(&changed).is_empty(), "not noticed:\n{changed}");
    }
}
