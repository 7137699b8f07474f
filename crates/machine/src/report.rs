//! What a run counted: exits by reason, with how often and how long.

use std::time::Duration;

use hypervisor::RunExit;

/// Kinds of exits to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// A slice of the scheduler ended.
    Slice,
    /// A processor halted.
    Idle,
    /// A processor gave way while it was spinning.
    Pause,
    /// A port was read.
    IoRead,
    /// A port was written.
    IoWrite,
    /// A device was read through memory.
    MmioRead,
    /// A device was written through memory.
    MmioWrite,
    /// A level-triggered interrupt ended.
    IoapicEoi,
    /// An interrupt of the 8259 was taken.
    InterruptAcknowledge,
    /// The end of the run: shutdown or something unsupported.
    End,
}

impl ExitKind {
    /// All kinds, in the order of the report.
    pub const ALL: [Self; 10] = [
        Self::Slice,
        Self::Idle,
        Self::Pause,
        Self::IoRead,
        Self::IoWrite,
        Self::MmioRead,
        Self::MmioWrite,
        Self::IoapicEoi,
        Self::InterruptAcknowledge,
        Self::End,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slice => "slice",
            Self::Idle => "idle",
            Self::Pause => "pause",
            Self::IoRead => "io-read",
            Self::IoWrite => "io-write",
            Self::MmioRead => "mmio-read",
            Self::MmioWrite => "mmio-write",
            Self::IoapicEoi => "ioapic-eoi",
            Self::InterruptAcknowledge => "interrupt-acknowledge",
            Self::End => "end",
        }
    }

    /// The kind of `exit`.
    #[must_use]
    pub const fn of(exit: &RunExit) -> Self {
        match exit {
            RunExit::Budget => Self::Slice,
            RunExit::Idle => Self::Idle,
            RunExit::Pause => Self::Pause,
            RunExit::IoRead { .. } => Self::IoRead,
            RunExit::IoWrite { .. } => Self::IoWrite,
            RunExit::MmioRead { .. } => Self::MmioRead,
            RunExit::MmioWrite { .. } => Self::MmioWrite,
            RunExit::IoapicEoi { .. } => Self::IoapicEoi,
            RunExit::InterruptAcknowledge => Self::InterruptAcknowledge,
            RunExit::Shutdown | RunExit::Unsupported { .. } => Self::End,
        }
    }
}

/// How often, and how long the host took to handle them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitCount {
    /// Exits.
    pub count: u64,
    /// Host time from the exit until the processor could run again.
    pub time: Duration,
}

/// The last exits of a machine, for the report of a run that ended badly.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    counts: [ExitCount; ExitKind::ALL.len()],
    last: std::collections::VecDeque<(u64, usize, RunExit)>,
}

/// How many of the last exits are remembered.
const REMEMBERED: usize = 16;

impl Statistics {
    /// Counts an exit of processor `vcpu` at virtual time `now`.
    pub(crate) fn count(&mut self, now: u64, vcpu: usize, exit: &RunExit, time: Duration) {
        let kind = ExitKind::of(exit);
        let entry = &mut self.counts[kind as usize];
        entry.count += 1;
        entry.time += time;
        if kind != ExitKind::Slice {
            if self.last.len() == REMEMBERED {
                self.last.pop_front();
            }
            self.last.push_back((now, vcpu, *exit));
        }
    }

    /// Counts by kind.
    pub fn counts(&self) -> impl Iterator<Item = (ExitKind, ExitCount)> + '_ {
        ExitKind::ALL.into_iter().zip(self.counts)
    }

    /// The last exits other than ends of slices, oldest first: virtual time, processor, exit.
    pub fn last(&self) -> impl Iterator<Item = &(u64, usize, RunExit)> {
        self.last.iter()
    }
}
