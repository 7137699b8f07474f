//! `cargo xtask test`: everything that CI runs.
use crate::fixtures::{self, LinuxOptions};
use crate::steps::Steps;
use crate::workspace::{self, FIXTURES_VARIABLE, PROGRAM_VARIABLE};
use crate::{check, command, run_guest};
use anyhow::Result;
use std::ffi::OsString;
use std::process::ExitCode;

/// Run everything that CI runs: the gates of `check`, then all tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    linux: LinuxOptions,
    /// Arguments for `cargo test`, after `--`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    check::run_gates(&mut steps);

    let mut program = None;
    let mut ready = steps.run("bare-metal guests", fixtures::build_hello);
    ready &= steps.run("Linux guest", || fixtures::build_linux(&options.linux));
    ready &= steps.run("testudo", || {
        program = Some(run_guest::build_testudo()?);
        Ok(())
    });
    match program {
        Some(program) if ready => {
            steps.run("tests", || {
                let mut cargo = command::cargo();
                cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(&options.arguments);
                cargo.env(FIXTURES_VARIABLE, workspace::fixtures()).env(PROGRAM_VARIABLE, program);
                command::run(&mut cargo)
            });
        }
        _ => steps.not_run("tests", "what they need could not be built"),
    }
    Ok(steps.finish())
}
