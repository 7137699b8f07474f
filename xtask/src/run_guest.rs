//! `cargo xtask run-guest`: builds everything that a run needs, and runs it.
use crate::fixtures::{self, LinuxOptions};
use crate::workspace::{self, HELLO_ADDRESS};
use crate::{command, progress};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Build testudo and a guest, and run it. The exit status is that of `testudo run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The guest
    #[arg(value_enum, default_value = "hello")]
    guest: Guest,
    #[command(flatten)]
    linux: LinuxOptions,
    /// Flags for `testudo run`, after `--`
    #[arg(last = true)]
    flags: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Guest {
    /// A small bare-metal guest of our own; needs no download
    Hello,
    /// The distribution's kernel with a busybox initramfs
    Linux,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    match options.guest {
        Guest::Hello => fixtures::build_hello()?,
        Guest::Linux => fixtures::build_linux(&options.linux)?,
    }
    let mut testudo = Command::new(build_testudo()?);
    testudo.args(arguments(options.guest, &options.flags));
    let status = command::status(&mut testudo)?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Builds the `testudo` program as it is meant to be run.
pub(crate) fn build_testudo() -> Result<PathBuf> {
    progress::announce("building testudo");
    command::build_executable(command::cargo().args(["build", "--release", "--package", "testudo"]))
        .context("building testudo")
}

/// The guest's arguments, each unless the user gave it.
fn arguments(guest: Guest, flags: &[OsString]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into()];
    let mut default = |names: &[&str], value: OsString| {
        if !flags.iter().any(|flag| names.iter().any(|name| is_flag(flag, name))) {
            arguments.extend([names[0].into(), value]);
        }
    };
    match guest {
        Guest::Hello => {
            default(&["--kernel"], workspace::fixtures().join("hello.bin").into());
            default(&["--flat"], format!("{HELLO_ADDRESS:#x}").into());
        }
        Guest::Linux => {
            default(&["--kernel"], workspace::linux_kernel().into());
            default(&["--initrd"], workspace::linux_initramfs().into());
            default(&["--append"], "console=ttyS0 panic=-1".into());
            default(&["--memory", "-m"], "1G".into());
        }
    }
    default(&["--serial"], "stdio".into());
    default(&["--report"], "table".into());
    arguments.extend_from_slice(flags);
    arguments
}

/// `--name`, `--name=value`, and for a short name also `-nvalue`.
fn is_flag(flag: &OsStr, name: &str) -> bool {
    let flag = flag.to_string_lossy();
    let Some(rest) = flag.strip_prefix(name) else { return false };
    rest.is_empty() || rest.starts_with('=') || !name.starts_with("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_flags_replace_the_defaults() {
        let flags =
            ["-m2G".into(), "--append=console=ttyS0 testudo.shell".into(), "--cpus".into(), "4".into()];
        let arguments = arguments(Guest::Linux, &flags);
        let given = |name: &str| arguments.iter().filter(|argument| is_flag(argument, name)).count();
        assert_eq!((given("--memory"), given("-m"), given("--append"), given("--initrd")), (0, 1, 1, 1));
        assert_eq!(arguments[arguments.len() - 4..], flags);
    }

    #[test]
    fn a_long_flag_is_not_the_beginning_of_another() {
        assert!(!is_flag(OsStr::new("--serially"), "--serial"));
        assert!(is_flag(OsStr::new("--serial=none"), "--serial"));
    }
}
