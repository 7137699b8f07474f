//! Why a processor stopped running.

/// Why [`crate::Vm::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunExit {
    /// The budget of instructions is spent, or a time limit was reached.
    Budget,
    /// The processor waits for an interrupt, INIT or start-up, and there is none.
    Idle,
    /// IN: answer with [`crate::Vm::answer`] before it runs again.
    IoRead {
        /// Port.
        port: u16,
        /// 1, 2 or 4.
        size: u8,
    },
    /// OUT; the instruction is complete.
    IoWrite {
        /// Port.
        port: u16,
        /// 1, 2 or 4.
        size: u8,
        /// What was written.
        value: u32,
    },
    /// A load from an address that is neither RAM nor the local APIC: answer with [`crate::Vm::answer`].
    MmioRead {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8.
        size: u8,
    },
    /// A store to an address that is neither RAM nor the local APIC; the instruction is complete.
    MmioWrite {
        /// Guest-physical address.
        address: u64,
        /// 1, 2, 4 or 8.
        size: u8,
        /// What was written.
        value: u64,
    },
    /// A level-triggered interrupt was ended: tell the I/O APIC.
    IoapicEoi {
        /// Its vector.
        vector: u8,
    },
    /// The processor takes an interrupt from the 8259: acknowledge there and give the vector to [`crate::Vm::interrupt`].
    InterruptAcknowledge,
    /// The processor spins: another may have its turn.
    Pause,
    /// Triple fault.
    Shutdown,
    /// The guest used something of a PC that is not here.
    Unsupported {
        /// What, in words.
        what: &'static str,
    },
}

/// What a processor is doing (KVM_GET_MP_STATE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Executing.
    Running,
    /// In HLT.
    Halted,
    /// After INIT, waiting for a start-up IPI.
    WaitForStartUp,
    /// After a triple fault.
    Shutdown,
}
