//! Exit statuses. Those of the guest through isa-debug-exit are odd, (value << 1) | 1, so all others are even.

use machine::End;

/// Statuses of our own, with what they mean for `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// The guest powered the machine off.
    PowerOff = 0,
    /// The command line, as clap has it.
    Arguments = 2,
    /// Triple fault.
    TripleFault = 64,
    /// Instruction limit.
    InstructionLimit = 66,
    /// The guest reset the machine.
    Reset = 68,
    /// Every processor waits for ever.
    Stuck = 70,
    /// Something a PC has and this one has not.
    Unsupported = 72,
    /// Ctrl-C, Ctrl-A X or a signal.
    Stopped = 74,
    /// A file or the host.
    Failed = 76,
    /// A panic.
    Bug = 78,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::PowerOff,
        Self::Arguments,
        Self::TripleFault,
        Self::InstructionLimit,
        Self::Reset,
        Self::Stuck,
        Self::Unsupported,
        Self::Stopped,
        Self::Failed,
        Self::Bug,
    ];

    const fn meaning(self) -> &'static str {
        match self {
            Self::PowerOff => "the guest powered the machine off",
            Self::Arguments => "the command line is wrong",
            Self::TripleFault => "a processor had a triple fault",
            Self::InstructionLimit => "--max-instructions was reached",
            Self::Reset => "the guest reset the machine",
            Self::Stuck => "every processor waits for something that cannot come",
            Self::Unsupported => "the guest used something that is not implemented",
            Self::Stopped => "stopped by Ctrl-A X, Ctrl-C or a signal",
            Self::Failed => "a file or the host: the message says what is wrong",
            Self::Bug => "a bug in testudo",
        }
    }
}

/// The status for the end of a run.
pub(crate) fn of(end: &End) -> u8 {
    let status = match end {
        End::PowerOff => Status::PowerOff,
        // A process has eight bits of status.
        End::Exit { status } => return *status as u8,
        End::Reset => Status::Reset,
        End::TripleFault { .. } => Status::TripleFault,
        End::InstructionLimit => Status::InstructionLimit,
        End::Stuck => Status::Stuck,
        End::Stopped => Status::Stopped,
        End::Unsupported { .. } => Status::Unsupported,
        End::OutputFailed { .. } => Status::Failed,
    };
    status as u8
}

/// The table of exit statuses in `--help`.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit status:\n");
    for status in Status::ALL {
        text += &format!("  {:>3}  {}\n", status as u8, status.meaning());
        if status == Status::PowerOff {
            text += "  odd  the guest wrote V to the isa-debug-exit port, 0xf4: the status is ((V << 1) | 1) mod 256\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_status_can_be_taken_for_the_guests() {
        for status in Status::ALL {
            assert_eq!(status as u8 % 2, 0, "{status:?}");
            assert!((status as u8) < 128, "{status:?}");
            assert_eq!(Status::ALL.iter().filter(|&&other| other as u8 == status as u8).count(), 1);
            assert!(table().contains(&format!("  {:>3}  {}\n", status as u8, status.meaning())));
        }
    }

    #[test]
    fn ends() {
        for (end, status) in [
            (End::PowerOff, 0),
            (End::Exit { status: 0x21 }, 0x21),
            (End::Exit { status: 0x1ff }, 0xff),
            (End::TripleFault { vcpu: 3 }, 64),
            (End::InstructionLimit, 66),
            (End::Reset, 68),
            (End::Stuck, 70),
            (End::Unsupported { what: "a task gate" }, 72),
            (End::Stopped, 74),
            (End::OutputFailed { kind: std::io::ErrorKind::BrokenPipe }, 76),
        ] {
            assert_eq!(of(&end), status, "{end:?}");
        }
    }
}
