//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{exit_status, quantity};

/// An x86-64 PC in software, without virtualization hardware.
#[derive(Debug, Parser)]
#[command(name = "testudo", version, max_term_width = 110, after_help = exit_status::table())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunArgs>),
    Inspect(InspectArgs),
}

const EXAMPLES: &str = "\
Examples:
  testudo run --kernel vmlinuz --initrd initramfs.cpio --append console=ttyS0 -m 1G -c 4
  testudo run --kernel kernel.elf --module 'payload.bin first argument' --serial file:console.log
  testudo run --kernel boot.bin --flat 0x7c00 --report json:report.json
  testudo run --kernel vmlinuz --max-instructions 500M --snapshot machine.testudo
  testudo run --restore machine.testudo

On a terminal the guest has the keyboard: Ctrl-A X ends the machine, Ctrl-A A sends Ctrl-A, Ctrl-A H shows help.
";

fn run_help() -> String {
    format!("{EXAMPLES}\n{}", exit_status::table())
}

/// Run a guest until it ends.
#[derive(Debug, Args)]
#[command(after_help = run_help())]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// Where COM1 goes: "stdio", "file:PATH" or "none"
    #[arg(long, value_name = "WHERE", default_value = "stdio", value_parser = Stream::parse)]
    pub(crate) serial: Stream,
    /// Where the debug console goes that guests write at port 0xe9: "stdio", "file:PATH" or "none"
    #[arg(long, value_name = "WHERE", default_value = "none", value_parser = Stream::parse)]
    pub(crate) debug_console: Stream,
    /// Stop after N instructions since power-on, of all processors together; K, M and G count in thousands
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub(crate) max_instructions: Option<u64>,
    /// What to say at the end: "table" (to standard error), "json:PATH" or "none"
    #[arg(long, value_name = "HOW", default_value = "table", value_parser = ReportTo::parse)]
    pub(crate) report: ReportTo,
    /// Save the machine here if the run stops at --max-instructions or is stopped by the user
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,
}

/// What the guest is started from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The guest: a Linux bzImage, an ELF file with a PVH note or a multiboot header, or with --flat a binary for real mode
    #[arg(long, value_name = "FILE", required_unless_present = "restore")]
    pub(crate) kernel: Option<PathBuf>,
    /// Go on with the machine of a snapshot
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kernel", "initrd", "append", "module", "flat", "memory", "cpus", "clock"]
    )]
    pub(crate) restore: Option<PathBuf>,
    /// The initial RAM disk; multiboot and PVH kernels have it as their first module
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub(crate) append: String,
    /// A module for a multiboot or PVH kernel, and what the kernel is told about it; the file's name ends at the first blank
    #[arg(long, value_name = "FILE ARGS")]
    pub(crate) module: Vec<String>,
    /// Load the kernel as it is at this address and start it there in real mode
    #[arg(long, value_name = "ADDRESS", value_parser = quantity::address)]
    pub(crate) flat: Option<u64>,
}

/// What the machine is made of.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// RAM: a number with K, M, G or T (powers of 1024); without, MiB
    #[arg(long, short = 'm', value_name = "SIZE", default_value = "1G", value_parser = quantity::size)]
    pub(crate) memory: u64,
    /// Processors
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(machine::config::MOST_CPUS)))]
    pub(crate) cpus: u32,
    /// Where time comes from
    #[arg(long, value_enum, default_value_t = Clock::Icount)]
    pub(crate) clock: Clock,
}

/// Where time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// One instruction is one nanosecond: every run is the same. The date begins at 2026-01-01 00:00:00
    Icount,
    /// The host's clock and date
    Host,
}

/// Print what is in a snapshot.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Where the bytes of a port go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output; for COM1, input comes from standard input.
    Stdio,
    /// A file, created or replaced.
    File(PathBuf),
    /// Nowhere.
    None,
}

impl Stream {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "none" => Ok(Self::None),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("use stdio, file:PATH or none".to_owned()),
        }
    }
}

/// Where the report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReportTo {
    /// Standard error, for people.
    Table,
    /// A file, for programs.
    Json(PathBuf),
    /// Nowhere.
    None,
}

impl ReportTo {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "table" => Ok(Self::Table),
            None if text == "none" => Ok(Self::None),
            Some(("json", path)) if !path.is_empty() => Ok(Self::Json(path.into())),
            _ => Err("use table, json:PATH or none".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn run(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let words = ["testudo", "run"].iter().chain(arguments);
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Run(run) => *run,
            Command::Inspect(_) => unreachable!("the words say run"),
        })
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_and_short_forms() {
        let args = run(&["--kernel", "k"]).unwrap();
        assert_eq!((args.machine.memory, args.machine.cpus, args.machine.clock), (1 << 30, 1, Clock::Icount));
        assert_eq!((args.serial, args.report), (Stream::Stdio, ReportTo::Table));
        let args = run(&["--kernel", "k", "-m", "512", "-c4", "--append", "-x --y"]).unwrap();
        assert_eq!((args.machine.memory, args.machine.cpus), (512 << 20, 4));
        assert_eq!(args.source.append, "-x --y");
    }

    #[test]
    fn a_guest_is_needed_and_only_one() {
        assert_eq!(run(&[]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        for more in [["--kernel", "k"], ["-m", "1G"], ["--clock", "host"], ["--append", ""], ["--flat", "0"]]
        {
            let error = run(&["--restore", "s", more[0], more[1]]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{more:?}");
        }
        assert!(run(&["--restore", "s", "--snapshot", "s"]).is_ok());
    }

    #[test]
    fn bad_values_are_refused() {
        for (flag, value) in [
            ("--memory", "1X"),
            ("--cpus", "0"),
            ("--cpus", "17"),
            ("--clock", "tsc"),
            ("--serial", "file:"),
            ("--serial", "tcp:1"),
            ("--report", "json"),
            ("--flat", "7c00"),
            ("--max-instructions", "many"),
        ] {
            let error = run(&["--kernel", "k", flag, value]).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
                "{flag} {value}: {error}"
            );
            assert_eq!(error.exit_code(), 2);
        }
    }
}
