//! FXSAVE, FXRSTOR and the XSAVE family (SDM 1 chapter 13; SDM 1 10.5 for the legacy image).
//!
//! Two components exist: x87 (bit 0) and SSE (bit 1), both in the legacy region, so that the standard and the compacted format
//! differ in the header alone. What the manual leaves to the processor is fixed here, so that runs are the same everywhere:
//! XINUSE is exact (a component is in use when it differs from its initial configuration, the x87 one with all registers and
//! pointers, the SSE one by its XMM registers), and XSAVEOPT and XSAVES know the INIT optimisation but not the modified one.

use guest_memory::GuestMemory;
use x86_defs::control::{CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE, XCR0_SSE, XCR0_X87};
use x86_defs::gpr::{RAX, RDX};
use x86_defs::segment::index::SS;
use x86_defs::{Vector, is_canonical};

use crate::Cpu;
use crate::float::FXSAVE_SIZE;
use crate::float::env::{MXCSR_RESET, MXCSR_WRITABLE};
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Op};
use crate::system::{Then, complete};

/// Offset of MXCSR and its mask in the legacy region.
const MXCSR_AT: usize = 24;
/// Offset of ST(0).
const ST_AT: usize = 32;
/// Offset of XMM0.
const XMM_AT: usize = 160;
/// Offset of the XSAVE header: XSTATE_BV, XCOMP_BV, 48 bytes of zeros.
const HEADER_AT: u64 = 512;
/// XCOMP_BV: the image is compacted.
const COMPACTED: u64 = 1 << 63;
/// `Op::aux` of the instructions whose x87 pointers have 64 bits (REX.W).
pub(super) const WIDE: u8 = 1;

/// A legacy region of which parts have been read.
type Image = [u8; FXSAVE_SIZE];

/// What XSAVE and its variants do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Standard,
    Optimized,
    Compacted,
}

impl Cpu {
    /// Components that differ from their initial configuration (XINUSE, SDM 1 13.6).
    pub(super) fn components_in_use(&self) -> u64 {
        let x87 = if self.x87.is_initial_component() { 0 } else { XCR0_X87 };
        let sse = if self.xmm[..self.xmm_count()].iter().all(|&xmm| xmm == 0) { 0 } else { XCR0_SSE };
        x87 | sse
    }

    /// XMM registers that the mode can name.
    fn xmm_count(&self) -> usize {
        if self.mode.is_64() { 16 } else { 8 }
    }

    /// The address of an area of `bytes`, aligned to `alignment`. For a save, it is checked that all of it can be written.
    fn state_area(
        &mut self,
        mem: &GuestMemory,
        op: &Op,
        bytes: u64,
        alignment: u64,
        write: bool,
    ) -> Result<u64, Fault> {
        let linear = Segmented::linear(self, op, bytes, write)?;
        if linear & (alignment - 1) != 0 {
            // A stack fault comes before a general protection fault (SDM 3A table 6-2).
            let stack = usize::from(op.seg) == SS && self.mode.is_64() && !is_canonical(linear);
            return Err(if stack { self.raise_code(Vector::SS, 0) } else { self.gp0() });
        }
        if write {
            // The area spans at most two pages, and a piece of 16 bytes is on one.
            self.probe_write(mem, linear, 16, op.seg)?;
            self.probe_write(mem, linear.wrapping_add(bytes - 16), 16, op.seg)?;
        }
        Ok(linear)
    }

    fn at(&self, area: u64, offset: u64) -> u64 {
        self.wrap_linear(area.wrapping_add(offset))
    }

    fn write_piece(
        &mut self,
        mem: &GuestMemory,
        area: u64,
        seg: u8,
        offset: usize,
        value: u128,
    ) -> Result<(), Fault> {
        self.write(mem, self.at(area, offset as u64), value, seg)
    }

    /// Reads `count` pieces of 16 bytes from `offset` on into `image`.
    fn read_pieces(
        &mut self,
        mem: &GuestMemory,
        area: u64,
        seg: u8,
        image: &mut Image,
        offset: usize,
        count: usize,
    ) -> Result<(), Fault> {
        for piece in image[offset..offset + 16 * count].chunks_exact_mut(16).enumerate() {
            let (index, bytes) = piece;
            let value: u128 = self.read(mem, self.at(area, (offset + 16 * index) as u64), seg)?;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn save_x87(&mut self, mem: &GuestMemory, area: u64, op: &Op) -> Result<(), Fault> {
        let mut image = [0; FXSAVE_SIZE];
        self.x87.write_fxsave(&mut image, op.aux == WIDE);
        let piece = |offset: usize| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&image[offset..offset + 16]);
            u128::from_le_bytes(bytes)
        };
        self.write_piece(mem, area, op.seg, 0, piece(0))?;
        self.write(mem, self.at(area, 16), piece(16) as u64, op.seg)?;
        for st in 0..8 {
            let offset = ST_AT + 16 * st;
            self.write_piece(mem, area, op.seg, offset, piece(offset))?;
        }
        Ok(())
    }

    fn save_mxcsr(&mut self, mem: &GuestMemory, area: u64, op: &Op) -> Result<(), Fault> {
        let value = u64::from(self.mxcsr) | u64::from(MXCSR_WRITABLE) << 32;
        self.write(mem, self.at(area, MXCSR_AT as u64), value, op.seg)
    }

    fn save_xmm(&mut self, mem: &GuestMemory, area: u64, op: &Op) -> Result<(), Fault> {
        for index in 0..self.xmm_count() {
            self.write_piece(mem, area, op.seg, XMM_AT + 16 * index, self.xmm[index])?;
        }
        Ok(())
    }

    fn load_xmm(&mut self, image: &Image) {
        for index in 0..self.xmm_count() {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&image[XMM_AT + 16 * index..XMM_AT + 16 * index + 16]);
            self.xmm[index] = u128::from_le_bytes(bytes);
        }
    }

    /// MXCSR from an image, or #GP(0) for a reserved bit.
    fn checked_mxcsr(&mut self, image: &Image) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&image[MXCSR_AT..MXCSR_AT + 4]);
        let mxcsr = u32::from_le_bytes(bytes);
        if mxcsr & !MXCSR_WRITABLE != 0 { Err(self.gp0()) } else { Ok(mxcsr) }
    }

    fn need_fpu(&mut self, mask: u64) -> Result<(), Fault> {
        if self.cr0 & mask != 0 { Err(self.raise_code(Vector::NM, 0)) } else { Ok(()) }
    }

    fn need_xsave(&mut self) -> Result<(), Fault> {
        if self.cr4 & CR4_OSXSAVE == 0 {
            return Err(self.ud());
        }
        self.need_fpu(CR0_TS)
    }

    /// The components that software asks for and has enabled (RFBM); IA32_XSS never has a bit set.
    fn requested_components(&self) -> u64 {
        let asked = (self.regs[RDX] << 32) | (self.regs[RAX] & 0xffff_ffff);
        asked & self.xcr0
    }

    fn xsave(&mut self, mem: &GuestMemory, op: &Op, variant: Variant) -> Result<Then, Fault> {
        let area = self.state_area(mem, op, HEADER_AT + 64, 64, true)?;
        let asked = self.requested_components();
        let mut used = self.components_in_use();
        if variant == Variant::Compacted && self.mxcsr != MXCSR_RESET {
            // SDM 1 13.10: here MXCSR counts as a part of the SSE component.
            used |= XCR0_SSE;
        }
        let header = self.at(area, HEADER_AT);
        let old_bv = if variant == Variant::Compacted { 0 } else { self.read::<u64>(mem, header, op.seg)? };
        let saved = if variant == Variant::Standard { asked } else { asked & used };
        if saved & XCR0_X87 != 0 {
            self.save_x87(mem, area, op)?;
        }
        if saved & XCR0_SSE != 0 {
            self.save_xmm(mem, area, op)?;
        }
        let with_mxcsr = if variant == Variant::Compacted { saved } else { asked };
        if with_mxcsr & XCR0_SSE != 0 {
            self.save_mxcsr(mem, area, op)?;
        }
        self.write(mem, header, (old_bv & !asked) | (asked & used), op.seg)?;
        if variant == Variant::Compacted {
            self.write(mem, self.at(area, HEADER_AT + 8), asked | COMPACTED, op.seg)?;
        }
        Ok(Then::Next)
    }

    /// XRSTOR; `compacted_only` for XRSTORS.
    fn xrstor(&mut self, mem: &GuestMemory, op: &Op, compacted_only: bool) -> Result<Then, Fault> {
        let area = self.state_area(mem, op, HEADER_AT + 64, 64, false)?;
        let mut header = [0_u128; 4];
        for (index, piece) in header.iter_mut().enumerate() {
            *piece = self.read(mem, self.at(area, HEADER_AT + 16 * index as u64), op.seg)?;
        }
        let (state_bv, comp_bv) = (header[0] as u64, (header[0] >> 64) as u64);
        let compacted = comp_bv & COMPACTED != 0;
        let refused = if compacted {
            // SDM 1 13.8.2.
            let present = comp_bv & !COMPACTED;
            present & !self.xcr0 != 0
                || state_bv & !present != 0
                || header[1..].iter().any(|&piece| piece != 0)
        } else {
            // SDM 1 13.8.1: bytes 23:8 of the header are 0.
            compacted_only || comp_bv != 0 || header[1] as u64 != 0 || state_bv & !self.xcr0 != 0
        };
        if refused {
            return Err(self.gp0());
        }
        let asked = self.requested_components();
        let restored = asked & state_bv;
        let mut image = [0; FXSAVE_SIZE];
        if restored & XCR0_X87 != 0 {
            self.read_pieces(mem, area, op.seg, &mut image, 0, 2)?;
            self.read_pieces(mem, area, op.seg, &mut image, ST_AT, 8)?;
        }
        if restored & XCR0_SSE != 0 {
            let count = self.xmm_count();
            self.read_pieces(mem, area, op.seg, &mut image, XMM_AT, count)?;
        }
        // The standard format always brings MXCSR, the compacted one with the SSE component.
        let brings_mxcsr = if compacted { restored } else { asked } & XCR0_SSE != 0;
        let mxcsr = if brings_mxcsr {
            let value: u32 = self.read(mem, self.at(area, MXCSR_AT as u64), op.seg)?;
            image[MXCSR_AT..MXCSR_AT + 4].copy_from_slice(&value.to_le_bytes());
            self.checked_mxcsr(&image)?
        } else if asked & XCR0_SSE != 0 {
            MXCSR_RESET
        } else {
            self.mxcsr
        };
        self.mxcsr = mxcsr;
        if asked & XCR0_X87 != 0 {
            if restored & XCR0_X87 != 0 {
                self.x87.read_fxsave(&image, op.aux == WIDE);
            } else {
                self.x87.init_component();
            }
        }
        if asked & XCR0_SSE != 0 {
            // What was not read is zero, as the initial configuration is.
            self.load_xmm(&image);
        }
        Ok(Then::Next)
    }
}

/// FXSAVE, FXSAVE64.
pub(super) fn fxsave(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_fpu(CR0_TS | CR0_EM)?;
        let area = cpu.state_area(mem, op, HEADER_AT, 16, true)?;
        cpu.save_x87(mem, area, op)?;
        cpu.save_mxcsr(mem, area, op)?;
        // SDM 2A FXSAVE: without CR4.OSFXSR the XMM registers may be left out.
        if cpu.cr4 & CR4_OSFXSR != 0 {
            cpu.save_xmm(mem, area, op)?;
        }
        Ok(Then::Next)
    })
}

/// FXRSTOR, FXRSTOR64.
pub(super) fn fxrstor(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_fpu(CR0_TS | CR0_EM)?;
        let area = cpu.state_area(mem, op, HEADER_AT, 16, false)?;
        let with_sse = cpu.cr4 & CR4_OSFXSR != 0;
        let mut image = [0; FXSAVE_SIZE];
        let xmm = if with_sse { cpu.xmm_count() } else { 0 };
        cpu.read_pieces(mem, area, op.seg, &mut image, 0, XMM_AT / 16 + xmm)?;
        let mxcsr = cpu.checked_mxcsr(&image)?;
        cpu.mxcsr = mxcsr;
        cpu.x87.read_fxsave(&image, op.aux == WIDE);
        if with_sse {
            cpu.load_xmm(&image);
        }
        Ok(Then::Next)
    })
}

/// XSAVE, XSAVE64.
pub(super) fn xsave(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        cpu.xsave(mem, op, Variant::Standard)
    })
}

/// XSAVEOPT, XSAVEOPT64.
pub(super) fn xsaveopt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        cpu.xsave(mem, op, Variant::Optimized)
    })
}

/// XSAVEC, XSAVEC64.
pub(super) fn xsavec(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        cpu.xsave(mem, op, Variant::Compacted)
    })
}

/// XSAVES, XSAVES64: as XSAVEC, at level 0, for no supervisor component exists.
pub(super) fn xsaves(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        cpu.xsave(mem, op, Variant::Compacted)
    })
}

/// XRSTOR, XRSTOR64.
pub(super) fn xrstor(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        cpu.xrstor(mem, op, false)
    })
}

/// XRSTORS, XRSTORS64.
pub(super) fn xrstors(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_xsave()?;
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        cpu.xrstor(mem, op, true)
    })
}
