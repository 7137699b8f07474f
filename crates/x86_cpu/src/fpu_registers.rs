//! x87, MMX and SSE registers as L0 and tools get and set them (KVM_GET_FPU).

use crate::Cpu;
use crate::float::F80;

/// x87, MMX and SSE registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FpuRegisters {
    /// x87 control word.
    pub control: u16,
    /// x87 status word, with the top of the stack.
    pub status: u16,
    /// Abridged tag word (SDM 1 10.5.1.1): bit n is set if physical register n is not empty.
    pub tags: u8,
    /// ST(0) to ST(7), relative to the top of the stack.
    pub stack: [[u8; 10]; 8],
    /// MXCSR.
    pub mxcsr: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

impl Cpu {
    /// x87, MMX and SSE registers.
    #[must_use]
    pub fn fpu_registers(&self) -> FpuRegisters {
        FpuRegisters {
            control: self.x87.control(),
            status: self.x87.status(),
            tags: self.x87.tags(),
            stack: [0, 1, 2, 3, 4, 5, 6, 7].map(|index| self.x87.st(index).to_bytes()),
            mxcsr: self.mxcsr,
            xmm: self.xmm,
        }
    }

    /// Sets x87, MMX and SSE registers. Bits that cannot be set are dropped, and the error summary follows from the rest.
    pub fn set_fpu_registers(&mut self, registers: &FpuRegisters) {
        let FpuRegisters { control, status, tags, stack, mxcsr, xmm } = registers;
        self.x87.set_control(*control);
        self.x87.set_status(*status);
        self.x87.set_tags(*tags);
        for (index, &bytes) in (0..8).zip(stack) {
            self.x87.set_st_bits(index, F80::from_bytes(bytes));
        }
        self.mxcsr = mxcsr & 0xffff;
        self.xmm = *xmm;
    }
}
