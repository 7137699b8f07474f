//! Guests in the test's own process.

use machine::boot::{BootSource, Protocol};
use machine::host::Captured;
use machine::{Config, End, Machine, PoweredOff};

use crate::fixtures;

/// A machine after a run.
#[derive(Debug)]
pub struct Run {
    /// The machine.
    pub machine: Machine,
    /// What came out of its ports.
    pub output: Captured,
    /// How the run ended.
    pub end: End,
}

impl Run {
    /// What was written to COM1.
    #[must_use]
    pub fn serial(&self) -> String {
        String::from_utf8_lossy(&self.output.com1).into_owned()
    }

    /// Fails unless the guest powered off.
    ///
    /// # Panics
    /// With the end of what the guest said.
    pub fn expect_power_off(&self) {
        assert_eq!(self.end, End::PowerOff, "the guest said at last:\n{}", tail(&self.serial()));
    }

    /// Fails unless the guest wrote this line.
    ///
    /// # Panics
    /// With the end of what the guest said.
    pub fn expect_line(&self, line: &str) {
        let serial = self.serial();
        assert!(
            serial.lines().any(|found| found == line),
            "no line {line:?}; the guest said at last:\n{}",
            tail(&serial)
        );
    }
}

/// The last lines of a text.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// A machine that is about to enter a guest.
///
/// # Panics
/// If it cannot be.
#[must_use]
pub fn boot(config: Config, source: &BootSource<'_>) -> (Machine, Protocol) {
    let machine = PoweredOff::new(config).unwrap_or_else(|error| panic!("no machine: {error}"));
    machine.boot(source).unwrap_or_else(|error| panic!("no boot: {error}"))
}

/// Boots and runs a guest.
///
/// # Panics
/// If it cannot be booted.
#[must_use]
pub fn run(config: Config, source: &BootSource<'_>, most: Option<u64>) -> Run {
    let (machine, _) = boot(config, source);
    go_on(machine, most)
}

/// Runs a machine, or goes on with it.
#[must_use]
pub fn go_on(mut machine: Machine, most: Option<u64>) -> Run {
    let mut output = Captured::default();
    let end = machine.run(&mut output, most);
    Run { machine, output, end }
}

/// A binary for real mode, at the address where boot sectors go.
///
/// # Panics
/// If it cannot be booted.
#[must_use]
pub fn run_flat(code: &[u8], most: u64) -> Run {
    let source = BootSource { flat_address: Some(0x7c00), ..BootSource::new(code, "flat") };
    run(Config { memory: 4 << 20, ..Config::default() }, &source, Some(most))
}

/// Instructions that Linux takes to userspace and off again, at most.
pub const LINUX_LIMIT: u64 = 8_000_000_000;
/// The command line of Linux.
pub const LINUX_COMMAND_LINE: &str = "console=ttyS0 panic=-1";

/// Boots Linux and runs it to its end.
///
/// # Panics
/// If it cannot be booted.
#[must_use]
pub fn run_linux(config: Config) -> Run {
    let (kernel, initramfs) = (fixtures::read(fixtures::KERNEL), fixtures::read(fixtures::INITRAMFS));
    let source = BootSource {
        command_line: LINUX_COMMAND_LINE,
        initrd: Some(&initramfs),
        ..BootSource::new(&kernel, "vmlinuz")
    };
    run(config, &source, Some(LINUX_LIMIT))
}
