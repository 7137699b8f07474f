#![doc = include_str!("../README.md")]

mod args;
mod console;
mod escape;
mod exit_status;
mod files;
mod input;
mod inspect;
mod message;
mod output;
mod quantity;
mod report;
mod run;
mod signals;
mod snapshot;
mod status_line;
mod terminal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};
use crate::exit_status::Status;
use crate::message::say;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What no machine can be is wrong on the command line already.
    if let Command::Run(args) = &cli.command
        && args.source.restore.is_none()
        && let Err(error) = run::config(&args.machine).check()
    {
        Cli::command().error(ErrorKind::ValueValidation, error).exit();
    }
    // The message must not be lost on a raw terminal, nor taken for a status of the guest's.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        print(panic);
    }));
    let result = catch_unwind(AssertUnwindSafe(|| match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Inspect(args) => inspect::inspect(args),
    }));
    match result {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(error)) => {
            say(format_args!("error: {error:#}"));
            ExitCode::from(Status::Failed as u8)
        }
        Err(_) => ExitCode::from(Status::Bug as u8),
    }
}
