//! `cargo xtask bench`: the Linux guest with its workloads on Testudo, and on other processors in software that are installed here.
//!
//! All machines boot the same kernel and initramfs with the same command line, one after the other. What is compared is the host's time
//! between lines of the serial console: from the start of the program to userspace, and from the begin to the end of each workload.

mod console;
mod machines;
mod results;

use crate::fixtures::{self, LinuxOptions};
use crate::progress;
use crate::run_guest;
use crate::workspace;
use anyhow::{Context, Result};
use machines::Machine;
use results::Results;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure the Linux guest on Testudo, and on its peers.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Peers to compare with (Debian's packages: see `machines.rs`)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    against: Vec<machines::Peer>,
    /// How often to run each machine; the median counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Write all numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    linux: LinuxOptions,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut machines = Vec::new();
    for peer in &options.against {
        machines.push(Machine::peer(*peer)?);
    }
    fixtures::build_linux(&options.linux)?;
    machines.insert(0, Machine::Testudo(run_guest::build_testudo()?));

    let mut results = Results::new(machines.iter().map(Machine::name));
    // Round after round rather than machine after machine: a host that gets slower hurts all of them.
    for round in 1..=options.runs {
        for (number, machine) in machines.iter().enumerate() {
            let what = format!("round {round} of {}: {}", options.runs, machine.name());
            let run = progress::step(&what, || machine.run());
            let run = run.with_context(|| format!("running {}", machine.name()))?;
            results.add(number, run)?;
        }
    }

    println!("{}", results.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&results).context("writing the numbers")?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What all machines boot.
struct Guest {
    kernel: PathBuf,
    initramfs: PathBuf,
    /// Without mitigations on every machine: Testudo's processor needs none and says so, the peers' models differ in that.
    command_line: &'static str,
    memory_mib: u32,
}

impl Guest {
    fn new() -> Self {
        Self {
            kernel: workspace::linux_kernel(),
            initramfs: workspace::linux_initramfs(),
            command_line: "console=ttyS0 panic=-1 mitigations=off testudo.bench",
            memory_mib: 1024,
        }
    }
}
