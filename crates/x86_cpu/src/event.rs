//! What can end or interrupt the run of instructions: exits to L0, pending exceptions, interrupt shadows.

use x86_defs::{Exception, Vector};

use crate::Cpu;
use crate::op::Fault;

/// Why `run` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget of instructions is spent.
    Budget,
    /// HLT was executed.
    Halt,
    /// PAUSE was executed under PAUSE exiting; the instruction is complete.
    Pause,
    /// IN or INS: answer with [`Cpu::answer`], then run again.
    IoRead {
        /// Port.
        port: u16,
        /// 1, 2 or 4.
        size: u8,
    },
    /// OUT or OUTS; the instruction is complete.
    IoWrite {
        /// Port.
        port: u16,
        /// 1, 2 or 4.
        size: u8,
        /// What was written.
        value: u32,
    },
    /// A load from an address that is not RAM: answer with [`Cpu::answer`], then run again.
    MmioRead {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8.
        size: u8,
    },
    /// A store to an address that is not RAM; the instruction is complete.
    MmioWrite {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8.
        size: u8,
        /// What was written.
        value: u64,
    },
    /// RDMSR of a register that L0 owns: answer, then run again.
    MsrRead {
        /// Number.
        index: u32,
    },
    /// WRMSR of a register that L0 owns: answer (the value is ignored), then run again.
    MsrWrite {
        /// Number.
        index: u32,
        /// What is to be written.
        value: u64,
    },
    /// MOV from CR8: answer, then run again.
    Cr8Read,
    /// MOV to CR8; the instruction is complete.
    Cr8Write {
        /// The new task priority, 0 to 15.
        value: u8,
    },
    /// The interrupt line is up and the processor would take an interrupt now: [`Cpu::interrupt`] delivers one.
    InterruptWindow,
    /// Triple fault (SDM 3A 6.15, interrupt 8).
    Shutdown,
    /// Something a PC has and this processor does not.
    Unsupported {
        /// What, in words.
        what: &'static str,
    },
}

/// L0's answer to an exit that asked for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value read, or that a write was done.
    Value(u64),
    /// The access does not exist: #GP(0).
    GeneralProtection,
}

/// What the last aborted instruction left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pending {
    #[default]
    None,
    /// An exception to deliver at the instruction.
    Exception(Exception),
    /// An exit; the instruction runs again afterwards.
    Exit(Exit),
    /// The instruction made bounded progress (REP) and goes on when run again; `rip` stays.
    Again,
}

/// Which instruction inhibits interrupts until the next one has completed (SDM 3A 6.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InterruptShadow {
    #[default]
    None,
    Sti,
    MovSs,
}

/// What the run loop has to look at before the next block; 0 when nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attention(pub(crate) u8);

impl Attention {
    /// An interrupt or NMI may be deliverable.
    pub(crate) const INTERRUPT: u8 = 1 << 0;
    /// Instructions must be run one by one: shadow, TF, RF, instruction breakpoints, replay.
    pub(crate) const STEP: u8 = 1 << 1;
    /// A #DB trap is due.
    pub(crate) const DEBUG: u8 = 1 << 2;
    /// Completed writes wait for the machine.
    pub(crate) const POSTED: u8 = 1 << 3;
}

/// The answers to the exits of the instruction in progress, which is run again from its start with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    pub(crate) answers: Vec<(Exit, Answer)>,
    pub(crate) cursor: usize,
}

impl Replay {
    /// Most answers one instruction can need; XRSTOR from a device would be the largest.
    pub(crate) const MOST: usize = 512;

    pub(crate) fn clear(&mut self) {
        self.answers.clear();
        self.cursor = 0;
    }
}

impl Cpu {
    /// Leaves `exception` for the run loop.
    #[cold]
    #[inline(never)]
    pub(crate) fn raise(&mut self, exception: Exception) -> Fault {
        self.pending = Pending::Exception(exception);
        Fault
    }

    /// Leaves an exception with an error code for the run loop.
    #[cold]
    #[inline(never)]
    pub(crate) fn raise_code(&mut self, vector: Vector, error_code: u32) -> Fault {
        self.raise(Exception::new(vector, error_code))
    }

    /// Leaves #GP(0).
    #[cold]
    pub(crate) fn gp0(&mut self) -> Fault {
        self.raise_code(Vector::GP, 0)
    }

    /// Leaves #UD.
    #[cold]
    pub(crate) fn ud(&mut self) -> Fault {
        self.raise_code(Vector::UD, 0)
    }

    /// Asks L0: gives the answer if it is there (the instruction is run again), otherwise leaves the exit.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask(&mut self, exit: Exit) -> Result<u64, Fault> {
        match self.replay.answers.get(self.replay.cursor) {
            Some((asked, answer)) if *asked == exit => {
                self.replay.cursor += 1;
                match *answer {
                    Answer::Value(value) => Ok(value),
                    Answer::GeneralProtection => Err(self.gp0()),
                }
            }
            _ => {
                // Answers behind the cursor belong to another course of the instruction.
                self.replay.answers.truncate(self.replay.cursor);
                self.pending = Pending::Exit(exit);
                Err(Fault)
            }
        }
    }

    /// Answers the exit that `run` returned; the instruction goes on with it when run again.
    pub fn answer(&mut self, exit: Exit, answer: Answer) {
        if self.replay.answers.len() < Replay::MOST {
            self.replay.answers.push((exit, answer));
        }
        self.refresh_attention();
    }

    /// Tells the machine about a completed write once the instruction in progress is done.
    #[cold]
    #[inline(never)]
    pub(crate) fn post(&mut self, exit: Exit) {
        self.posted.push(exit);
        self.stop_block = true;
        self.attention.0 |= Attention::POSTED;
    }

    /// Recomputes what the run loop must look at.
    pub(crate) fn refresh_attention(&mut self) {
        let mut attention = 0;
        if self.interrupt_line || self.nmi_pending {
            attention |= Attention::INTERRUPT;
        }
        if self.shadow != InterruptShadow::None
            || self.system_flags & (x86_defs::rflags::TF | x86_defs::rflags::RF) != 0
            || self.instruction_breakpoints_armed()
            // Plain loads do not look whether they have to be the last of their block.
            || self.data_breakpoints_armed()
            || !self.replay.answers.is_empty()
        {
            attention |= Attention::STEP;
        }
        if self.debug_pending != 0 {
            attention |= Attention::DEBUG;
        }
        if !self.posted.is_empty() {
            attention |= Attention::POSTED;
        }
        self.attention = Attention(attention);
    }

    /// Raises or lowers the interrupt line: whether the interrupt controller has a vector.
    pub fn set_interrupt_line(&mut self, up: bool) {
        self.interrupt_line = up;
        self.refresh_attention();
    }

    /// Makes an NMI pending.
    pub fn set_nmi_pending(&mut self) {
        self.nmi_pending = true;
        self.refresh_attention();
    }
}
