//! `testudo run`.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use machine::boot::{BootSource, Module, Protocol};
use machine::{ClockMode, Config, End, Machine, PoweredOff};

use crate::args::{Clock, MachineArgs, RunArgs, SourceArgs};
use crate::console::Console;
use crate::exit_status::{self, Status};
use crate::message::say;
use crate::report::{Report, Reporter};
use crate::signals::StopFlag;
use crate::snapshot::SnapshotFile;
use crate::{files, signals, snapshot};

/// Runs a guest until it ends; the status to exit with.
pub(crate) fn run(args: &RunArgs) -> Result<u8> {
    let stop = StopFlag::default();
    signals::watch(&stop)?;
    // Everything that may be wrong with files is known before the guest begins.
    let reporter = Reporter::open(&args.report)?;
    let snapshot = args.snapshot.as_deref().map(SnapshotFile::prepare).transpose()?;
    let (mut machine, protocol) = match &args.source.restore {
        Some(path) => (restore(path)?, None),
        None => {
            let (machine, protocol) = power_on(&args.source, &args.machine)?;
            (machine, Some(protocol))
        }
    };

    let before = machine.retired();
    let mut console = Console::open(args, machine.config().clock, &stop)?;
    let start = Instant::now();
    let end = machine.run(&mut console, args.max_instructions);
    let wall_time = start.elapsed();
    let output = console.close();

    let saved = match snapshot {
        Some(file) => save(file, &machine, &end),
        None => Ok(false),
    };
    let saved_to = args.snapshot.as_deref().filter(|_| matches!(saved, Ok(true)));
    let mut status = exit_status::of(&end);
    for failure in [output.as_ref().err(), saved.as_ref().err()].into_iter().flatten() {
        say(format_args!("error: {failure:#}"));
        status = Status::Failed as u8;
    }
    let report = Report { machine: &machine, end, protocol, before, wall_time, status, saved_to };
    reporter.print(&report)?;
    Ok(status)
}

/// Writes the snapshot if the machine could go on. Whether it did.
fn save(file: SnapshotFile, machine: &Machine, end: &End) -> Result<bool> {
    if !matches!(end, End::InstructionLimit | End::Stopped) {
        say("no snapshot is written: the machine has ended");
        return Ok(false);
    }
    file.write(machine).map(|()| true)
}

fn restore(path: &Path) -> Result<Machine> {
    let bytes = snapshot::read(path)?;
    Machine::from_snapshot(&bytes).with_context(|| format!("cannot restore {}", path.display()))
}

/// The configuration that the arguments ask for.
pub(crate) fn config(args: &MachineArgs) -> Config {
    let &MachineArgs { memory, cpus, clock } = args;
    let (clock, start_time) = match clock {
        Clock::Icount => (ClockMode::Icount, machine::config::DEFAULT_START_TIME),
        Clock::Host => (ClockMode::Host, host_date()),
    };
    Config { memory, cpus, clock, start_time }
}

fn host_date() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|time| i64::try_from(time.as_secs()).ok())
        .unwrap_or(machine::config::DEFAULT_START_TIME)
}

fn power_on(source: &SourceArgs, machine: &MachineArgs) -> Result<(Machine, Protocol)> {
    let SourceArgs { kernel, restore: _, initrd, append, module, flat } = source;
    let kernel = kernel.as_deref().context("there is no --kernel")?;
    let read = |path: &Path| files::read(path, machine.memory, "the memory of the machine");
    let kernel_bytes = read(kernel)?;
    let initrd_bytes = initrd.as_deref().map(read).transpose()?;
    let module_bytes = module
        .iter()
        .map(|text| read(Path::new(text.split(' ').next().unwrap_or_default())))
        .collect::<Result<Vec<_>>>()?;
    let modules: Vec<Module<'_>> =
        module.iter().zip(&module_bytes).map(|(text, bytes)| Module { bytes, command_line: text }).collect();

    let machine = PoweredOff::new(config(machine)).context("cannot build the machine")?;
    let name = kernel.to_string_lossy();
    let source = BootSource {
        command_line: append,
        initrd: initrd_bytes.as_deref(),
        modules: &modules,
        flat_address: *flat,
        ..BootSource::new(&kernel_bytes, &name)
    };
    machine.boot(&source).with_context(|| format!("cannot boot {name}"))
}
