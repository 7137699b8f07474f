//! The tasks of the project: `cargo xtask TASK`. One file or folder per task; see each for what it does.

mod bench;
mod check;
mod command;
mod download;
mod fixtures;
mod progress;
mod run_guest;
mod steps;
mod test;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

/// The tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
enum Task {
    RunGuest(run_guest::Options),
    Test(test::Options),
    Check(check::Options),
    Bench(bench::Options),
    Fixtures(fixtures::Options),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::RunGuest(options) => run_guest::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Check(options) => check::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fixtures(options) => fixtures::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
