//! `cargo xtask check`: every gate that needs no test run. All of them are run, and each failure is listed.

mod dependencies;
mod file_sizes;

use crate::command;
use crate::steps::Steps;
use crate::workspace;
use anyhow::Result;
use std::process::{Command, ExitCode};

/// Run every gate: format, clippy, documentation, dependency direction, file sizes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

/// Runs the task.
pub(crate) fn run(_: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    run_gates(&mut steps);
    Ok(steps.finish())
}

/// Runs the gates as steps of a longer list.
pub(crate) fn run_gates(steps: &mut Steps) {
    // The fast ones first.
    steps.run("dependency direction", dependencies::check);
    steps.run("file sizes", file_sizes::check);
    steps.run("format", || command::run(command::cargo().args(["fmt", "--all", "--check"])));
    steps.run("format of guests", || command::run(guests().args(["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        command::run(command::cargo().args(arguments))
    });
    steps.run("clippy of guests", || {
        // One of the boot protocols: the others differ in assembly only.
        let arguments =
            ["clippy", "--workspace", "--features=hello/boot-pvh", "--locked", "--", "-D", "warnings"];
        command::run(guests().args(arguments).env("CARGO_TARGET_DIR", workspace::guest_target("clippy")))
    });
    steps.run("documentation", || {
        let mut doc = command::cargo();
        doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
        command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
}

/// Cargo, for the workspace of the guests.
fn guests() -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(workspace::fixture_sources());
    cargo
}
