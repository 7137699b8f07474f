//! Exceptions and interrupt vectors (SDM 3A 6.3, 6.15).

/// Vector number of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vector(pub u8);

impl Vector {
    /// Divide error, #DE.
    pub const DE: Self = Self(0);
    /// Debug, #DB.
    pub const DB: Self = Self(1);
    /// Non-maskable interrupt.
    pub const NMI: Self = Self(2);
    /// Breakpoint, #BP.
    pub const BP: Self = Self(3);
    /// Overflow, #OF.
    pub const OF: Self = Self(4);
    /// Bound range, #BR.
    pub const BR: Self = Self(5);
    /// Invalid opcode, #UD.
    pub const UD: Self = Self(6);
    /// Device not available, #NM.
    pub const NM: Self = Self(7);
    /// Double fault, #DF.
    pub const DF: Self = Self(8);
    /// Invalid TSS, #TS.
    pub const TS: Self = Self(10);
    /// Segment not present, #NP.
    pub const NP: Self = Self(11);
    /// Stack fault, #SS.
    pub const SS: Self = Self(12);
    /// General protection, #GP.
    pub const GP: Self = Self(13);
    /// Page fault, #PF.
    pub const PF: Self = Self(14);
    /// x87 error, #MF.
    pub const MF: Self = Self(16);
    /// Alignment check, #AC.
    pub const AC: Self = Self(17);
    /// Machine check, #MC.
    pub const MC: Self = Self(18);
    /// SIMD floating point, #XM.
    pub const XM: Self = Self(19);

    /// Whether delivery pushes an error code (SDM 3A table 6-1).
    #[must_use]
    pub const fn has_error_code(self) -> bool {
        matches!(self.0, 8 | 10..=14 | 17)
    }
}

/// An exception on its way to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Which.
    pub vector: Vector,
    /// What is pushed, for the vectors that push one.
    pub error_code: u32,
    /// CR2 for #PF, the bits to set in DR6 for #DB, otherwise 0.
    pub payload: u64,
}

impl Exception {
    /// An exception with an error code (0 for those that push none).
    #[must_use]
    pub const fn new(vector: Vector, error_code: u32) -> Self {
        Self { vector, error_code, payload: 0 }
    }
}

/// Page-fault error code: the page was present.
pub const PF_PRESENT: u32 = 1 << 0;
/// Page-fault error code: a write.
pub const PF_WRITE: u32 = 1 << 1;
/// Page-fault error code: a user-mode access.
pub const PF_USER: u32 = 1 << 2;
/// Page-fault error code: a reserved bit was set.
pub const PF_RESERVED: u32 = 1 << 3;
/// Page-fault error code: an instruction fetch.
pub const PF_FETCH: u32 = 1 << 4;
