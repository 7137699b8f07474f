//! x
use anyhow::Result;
use std::process::ExitCode;
/// x
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Options) -> Result<ExitCode> { Ok(ExitCode::SUCCESS) }
