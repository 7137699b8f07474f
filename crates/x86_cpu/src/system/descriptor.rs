//! Descriptors as they lie in the GDT and LDT (SDM 3A 3.4, 3.5), and the TSS fields that hold stacks (SDM 3A 7.2, 7.7).

use guest_memory::GuestMemory;
use x86_defs::Vector;
use x86_defs::segment::{
    AR_ACCESSED, AR_CODE, AR_CONFORMING_DOWN, AR_DB, AR_L, AR_P, AR_READ_WRITE, AR_S, AR_TYPE, Segment,
};

use crate::Cpu;
use crate::op::Fault;

/// A descriptor that was found, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) selector: u16,
    pub(super) raw: u64,
    address: u64,
}

impl Descriptor {
    /// Access rights in the layout of [`Segment::access`].
    pub(super) const fn access(&self) -> u32 {
        ((self.raw >> 40) & 0xf0ff) as u32
    }

    /// Type, bits 3:0 of the access rights.
    pub(super) const fn kind(&self) -> u32 {
        self.access() & AR_TYPE
    }

    pub(super) const fn dpl(&self) -> u8 {
        ((self.access() >> 5) & 3) as u8
    }

    pub(super) const fn present(&self) -> bool {
        self.access() & AR_P != 0
    }

    /// Neither code nor data.
    pub(super) const fn is_system(&self) -> bool {
        self.access() & AR_S == 0
    }

    pub(super) const fn is_code(&self) -> bool {
        self.access() & (AR_S | AR_CODE) == AR_S | AR_CODE
    }

    pub(super) const fn is_conforming_code(&self) -> bool {
        self.is_code() && self.access() & AR_CONFORMING_DOWN != 0
    }

    pub(super) const fn is_readable(&self) -> bool {
        self.is_data() || (self.is_code() && self.access() & AR_READ_WRITE != 0)
    }

    pub(super) const fn is_data(&self) -> bool {
        self.access() & (AR_S | AR_CODE) == AR_S
    }

    pub(super) const fn is_writable_data(&self) -> bool {
        self.is_data() && self.access() & AR_READ_WRITE != 0
    }

    /// 64-bit code (L set).
    pub(super) const fn is_long(&self) -> bool {
        self.access() & AR_L != 0
    }

    /// L and D are both set, which is reserved in IA-32e mode.
    pub(super) const fn is_long_and_default(&self) -> bool {
        self.access() & (AR_L | AR_DB) == AR_L | AR_DB
    }

    /// The segment register this makes, accessed as any loaded segment is.
    pub(super) const fn segment(&self) -> Segment {
        let mut segment = Segment::from_descriptor(self.selector, self.raw);
        if !self.is_system() {
            segment.access |= AR_ACCESSED;
        }
        segment
    }

    /// The code segment this makes when it runs at `cpl`.
    pub(super) const fn code_segment(&self, cpl: u8) -> Segment {
        let mut segment = self.segment();
        segment.selector = with_rpl(self.selector, cpl);
        segment
    }

    /// The offset in a gate, its lower 32 bits.
    pub(super) const fn gate_offset(&self) -> u32 {
        ((self.raw & 0xffff) | ((self.raw >> 32) & 0xffff_0000)) as u32
    }

    /// The selector in a gate.
    pub(super) const fn gate_selector(&self) -> u16 {
        (self.raw >> 16) as u16
    }
}

/// Whether a selector is null: index 0 in the GDT, with any RPL.
pub(super) const fn is_null(selector: u16) -> bool {
    selector & !3 == 0
}

/// Requested privilege level.
pub(super) const fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// `selector` with another RPL.
pub(super) const fn with_rpl(selector: u16, rpl: u8) -> u16 {
    (selector & !3) | rpl as u16
}

/// Error code that names a selector (SDM 3A 6.13).
pub(super) const fn error_of(selector: u16) -> u32 {
    (selector & !3) as u32
}

impl Cpu {
    /// Where the 8 bytes of the descriptor of `selector` are, if the table holds `size` bytes of it.
    pub(super) fn descriptor_address(&self, selector: u16, size: u64) -> Option<u64> {
        let (base, limit) = if selector & 4 == 0 {
            (self.gdtr.base, u64::from(self.gdtr.limit))
        } else if self.ldtr.unusable() {
            return None;
        } else {
            (self.ldtr.base, u64::from(self.ldtr.limit))
        };
        let offset = u64::from(selector & !7);
        (offset + (size - 1) <= limit).then(|| self.table_address(base, offset))
    }

    /// An address in a system table: linear addresses have 32 bits outside IA-32e mode.
    pub(super) fn table_address(&self, base: u64, offset: u64) -> u64 {
        let address = base.wrapping_add(offset);
        if self.long_mode() { address } else { address & 0xffff_ffff }
    }

    /// Reads the descriptor of `selector`, or leaves `vector` with the selector and `ext` as its error code.
    pub(super) fn read_descriptor(
        &mut self,
        mem: &GuestMemory,
        selector: u16,
        vector: Vector,
        ext: u32,
    ) -> Result<Descriptor, Fault> {
        match self.find_descriptor(mem, selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.raise_code(vector, error_of(selector) | ext)),
        }
    }

    /// Reads the descriptor of `selector` if it is inside its table.
    pub(super) fn find_descriptor(
        &mut self,
        mem: &GuestMemory,
        selector: u16,
    ) -> Result<Option<Descriptor>, Fault> {
        let Some(address) = self.descriptor_address(selector, 8) else { return Ok(None) };
        let raw = self.read_system::<u64>(mem, address)?;
        Ok(Some(Descriptor { selector, raw, address }))
    }

    /// Reads the upper 8 bytes of a 16-byte descriptor, or leaves #GP(selector).
    pub(super) fn read_upper_half(
        &mut self,
        mem: &GuestMemory,
        descriptor: &Descriptor,
    ) -> Result<u64, Fault> {
        if self.descriptor_address(descriptor.selector, 16).is_none() {
            return Err(self.raise_code(Vector::GP, error_of(descriptor.selector)));
        }
        self.read_system::<u64>(mem, descriptor.address.wrapping_add(8))
    }

    /// Sets the accessed bit of a code or data descriptor that is being loaded (SDM 3A 3.4.5.1).
    pub(super) fn mark_accessed(&mut self, mem: &GuestMemory, descriptor: &Descriptor) -> Result<(), Fault> {
        if descriptor.access() & AR_ACCESSED != 0 {
            return Ok(());
        }
        self.write_access_byte(mem, descriptor, descriptor.access() | AR_ACCESSED)
    }

    /// Writes the byte of a descriptor that holds type, S, DPL and P.
    pub(super) fn write_access_byte(
        &mut self,
        mem: &GuestMemory,
        descriptor: &Descriptor,
        access: u32,
    ) -> Result<(), Fault> {
        self.write_system(mem, descriptor.address.wrapping_add(5), access as u8)
    }

    /// RSP0 to RSP2 (`index` 0 to 2) or IST1 to IST7 (`index` 4 to 10) of the 64-bit TSS (SDM 3A figure 7-11).
    pub(super) fn read_long_tss_stack(
        &mut self,
        mem: &GuestMemory,
        index: u64,
        ext: u32,
    ) -> Result<u64, Fault> {
        let offset = 4 + 8 * index;
        if offset + 7 > u64::from(self.tr.limit) {
            return Err(self.raise_code(Vector::TS, error_of(self.tr.selector) | ext));
        }
        self.read_system::<u64>(mem, self.table_address(self.tr.base, offset))
    }

    /// The stack of an inner privilege level: SS and ESP from the 16- or 32-bit TSS, checked as SDM 3A 6.12.1 and SDM 2A CALL
    /// say.
    pub(super) fn read_inner_stack(
        &mut self,
        mem: &GuestMemory,
        level: u8,
        ext: u32,
    ) -> Result<(Segment, u64), Fault> {
        use x86_defs::segment::system_type;
        let wide = matches!(self.tr.access & AR_TYPE, system_type::TSS_AVAILABLE | system_type::TSS_BUSY);
        let (offset, pointer_bytes) =
            if wide { (4 + 8 * u64::from(level), 4) } else { (2 + 4 * u64::from(level), 2) };
        if offset + pointer_bytes + 1 > u64::from(self.tr.limit) {
            return Err(self.raise_code(Vector::TS, error_of(self.tr.selector) | ext));
        }
        let address = self.table_address(self.tr.base, offset);
        let pointer = if wide {
            u64::from(self.read_system::<u32>(mem, address)?)
        } else {
            u64::from(self.read_system::<u16>(mem, address)?)
        };
        let selector =
            self.read_system::<u16>(mem, self.table_address(self.tr.base, offset + pointer_bytes))?;
        if is_null(selector) {
            return Err(self.raise_code(Vector::TS, ext));
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::TS, ext)?;
        if rpl(selector) != level || descriptor.dpl() != level || !descriptor.is_writable_data() {
            return Err(self.raise_code(Vector::TS, error_of(selector) | ext));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::SS, error_of(selector) | ext));
        }
        self.mark_accessed(mem, &descriptor)?;
        Ok((descriptor.segment(), pointer))
    }
}
