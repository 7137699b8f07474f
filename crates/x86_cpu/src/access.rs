//! Memory accesses that the fast path does not take: a miss, a page crossing, a device, a breakpoint, an alignment check; and
//! everything a processor accesses on its own account.
//!
//! Whatever faults does so before anything is written.

mod breakpoint;
mod segmentation;
#[cfg(test)]
mod tests;

pub(crate) use segmentation::within_limit;

use guest_memory::{GuestMemory, Word};
use x86_defs::control::{CR0_AM, CR4_SMAP};
use x86_defs::exception::{Exception, Vector};
use x86_defs::rflags;
use x86_defs::segment::index::SS;
use x86_defs::{PAGE_SIZE, is_canonical};

use crate::Cpu;
use crate::event::Exit;
use crate::op::Fault;
use crate::paging::{self, Access, Controls, InMemory, Paging, ReadOnly, Stop};
use crate::tlb::{Allow, FetchTranslation, Kind, PAGE_MASK, asid_of};

/// One or two physical runs of bytes behind a linear range of up to 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Runs {
    first: u64,
    first_len: u64,
    second: u64,
    second_len: u64,
}

impl Cpu {
    // Explicit accesses of instructions

    /// [`Cpu::read`] where the fast path missed.
    #[cold]
    #[inline(never)]
    pub(crate) fn read_slow<T: Word>(&mut self, mem: &GuestMemory, linear: u64, seg: u8) -> Result<T, Fault> {
        let access = self.explicit(false);
        let runs = self.prepare(mem, linear, T::SIZE, seg, access)?;
        if self.data_breakpoints_armed() {
            self.note_data_access(linear, T::SIZE, false);
        }
        self.load(mem, runs)
    }

    /// [`Cpu::write`] where the fast path missed.
    #[cold]
    #[inline(never)]
    pub(crate) fn write_slow<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        value: T,
        seg: u8,
    ) -> Result<(), Fault> {
        let access = self.explicit(true);
        let runs = self.prepare(mem, linear, T::SIZE, seg, access)?;
        if self.data_breakpoints_armed() {
            self.note_data_access(linear, T::SIZE, true);
        }
        self.store(mem, runs, value);
        Ok(())
    }

    /// The reading half of [`Cpu::modify`] where the fast path missed: the access is checked as a write. The write that
    /// follows cannot fault.
    #[cold]
    #[inline(never)]
    pub(crate) fn read_to_modify_slow<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        seg: u8,
    ) -> Result<T, Fault> {
        let access = self.explicit(true);
        let runs = self.prepare(mem, linear, T::SIZE, seg, access)?;
        if self.data_breakpoints_armed() {
            self.note_data_access(linear, T::SIZE, false);
        }
        self.load(mem, runs)
    }

    /// Checks that `size` bytes (a power of two, 16 at most) can be written, without writing: for instructions that write several operands or
    /// write only in the end.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_write(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        size: u64,
        seg: u8,
    ) -> Result<(), Fault> {
        let access = self.explicit(true);
        self.prepare(mem, linear, size, seg, access).map(|_| ())
    }

    // Implicit accesses

    /// Reads for the processor itself (descriptor tables, TSS, IDT): a supervisor access whatever the CPL, and SMAP applies
    /// whatever EFLAGS.AC says (SDM 3A 4.6.1).
    #[inline(never)]
    pub(crate) fn read_system<T: Word>(&mut self, mem: &GuestMemory, linear: u64) -> Result<T, Fault> {
        let wraps = !self.long_mode();
        let runs = self.translate_range(mem, linear, T::SIZE, Vector::GP, Access::system(false), wraps)?;
        self.load(mem, runs)
    }

    /// Writes for the processor itself.
    #[inline(never)]
    pub(crate) fn write_system<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        value: T,
    ) -> Result<(), Fault> {
        let wraps = !self.long_mode();
        let runs = self.translate_range(mem, linear, T::SIZE, Vector::GP, Access::system(true), wraps)?;
        self.store(mem, runs, value);
        Ok(())
    }

    /// Writes to a stack in the name of `cpl`, which need not be the current one: pushes of an event's delivery or of a far
    /// call to an inner level are explicit accesses of the level they lead to.
    #[inline(never)]
    pub(crate) fn write_as<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        value: T,
        cpl: u8,
    ) -> Result<(), Fault> {
        let access = Access { user: cpl == 3, ..Access::system(true) };
        let wraps = !self.long_mode();
        let runs = self.translate_range(mem, linear, T::SIZE, Vector::SS, access, wraps)?;
        if self.data_breakpoints_armed() {
            self.note_data_access(linear, T::SIZE, true);
        }
        self.store(mem, runs, value);
        Ok(())
    }

    // Translation

    /// The guest-physical address behind `linear`, from the TLB or from the page tables. Nothing beyond the byte at `linear`
    /// is looked at.
    pub(crate) fn translate(&mut self, mem: &GuestMemory, linear: u64, access: Access) -> Result<u64, Fault> {
        let Some(paging) = Paging::of(self) else {
            let physical = linear & 0xffff_ffff;
            self.allow(mem, linear, physical, access);
            return Ok(physical);
        };
        let asid = asid_of(self.cr3, self.cr4);
        if let Some(cached) = self.tlb.lookup(linear, asid)
            && cached.rights.permit(access, paging.controls)
            && (!access.write || cached.dirty)
        {
            let physical = cached.frame | (linear & !PAGE_MASK);
            self.allow(mem, linear, physical, access);
            return Ok(physical);
        }
        // Also when a cached translation forbids the access: the tables may have been made more permissive since, and then
        // there is no fault (SDM 3A 4.10.4.3 allows either; a fault that the tables do not show helps nobody).
        match paging::walk(&paging, linear, access, &mut InMemory(mem)) {
            Ok(translation) => {
                self.tlb.insert(linear, asid, translation);
                let physical = translation.frame | (linear & !PAGE_MASK);
                self.allow(mem, linear, physical, access);
                self.note_code_writes(mem);
                Ok(physical)
            }
            Err(Stop::PageFault(error_code)) => {
                self.tlb.invalidate_faulting(linear, asid);
                self.note_code_writes(mem);
                Err(self.raise(Exception { vector: Vector::PF, error_code, payload: linear }))
            }
            Err(Stop::Entries(never)) => match never {},
        }
    }

    /// Lets accesses like this one hit from now on, if they are ones of the present context and the page is RAM.
    #[inline]
    fn allow(&mut self, mem: &GuestMemory, linear: u64, physical: u64, access: Access) {
        let allow = if access.fetch {
            Allow::Exec
        } else if access == self.explicit(access.write) {
            if access.write { Allow::Write } else { Allow::Read }
        } else {
            return;
        };
        if let Some(offset) = mem.offset_of(physical) {
            self.tlb.allow(mem, linear, offset, allow);
        }
    }

    /// The guest-physical address that the instruction at `linear` is fetched from; fetches go on from that page until a
    /// flush, a change of context or a fetch from another page.
    pub(crate) fn translate_fetch(&mut self, mem: &GuestMemory, linear: u64) -> Result<u64, Fault> {
        let physical = self.translate_fetch_second(mem, linear)?;
        self.tlb.fetch =
            FetchTranslation { linear_page: linear & PAGE_MASK, frame: physical & PAGE_MASK, valid: true };
        Ok(physical)
    }

    /// The same for the second page of an instruction that crosses pages: fetches do not go on from there.
    pub(crate) fn translate_fetch_second(&mut self, mem: &GuestMemory, linear: u64) -> Result<u64, Fault> {
        if let Some(physical) = self.tlb.fast_fetch(linear).and_then(|offset| mem.address_of(offset)) {
            return Ok(physical);
        }
        if self.mode.is_64() && !is_canonical(linear) {
            return Err(self.gp0());
        }
        let access = Access { write: false, fetch: true, user: self.cpl == 3, smap_override: false };
        self.translate(mem, linear, access)
    }

    /// What a debugger sees: the guest-physical address behind `linear` by the page tables, whatever the rights and the TLB are.
    /// Changes nothing.
    #[must_use]
    pub fn probe(&self, mem: &GuestMemory, linear: u64) -> Option<u64> {
        let Some(mut paging) = Paging::of(self) else { return Some(linear & 0xffff_ffff) };
        paging.controls.smap = false;
        if self.long_mode() && !is_canonical(linear) {
            return None;
        }
        let access = Access::system(false);
        let translation = paging::walk(&paging, linear, access, &mut ReadOnly(mem)).ok()?;
        Some(translation.frame | (linear & !PAGE_MASK))
    }

    /// The PDPTEs that `cr3` points to, or #GP(0) if one has a reserved bit set. Nothing is changed.
    pub(crate) fn load_pdptes(&mut self, mem: &GuestMemory, cr3: u64) -> Result<[u64; 4], Fault> {
        match paging::load_pdptes(cr3, &mut InMemory(mem)) {
            Ok(Ok(pdptes)) => Ok(pdptes),
            Ok(Err(paging::ReservedBitSet)) => Err(self.gp0()),
            Err(never) => match never {},
        }
    }

    /// Chooses what TLB hits have to match. Whoever changes CR0, CR3, CR4, CPL, RFLAGS.AC or DR7 calls this.
    #[inline]
    pub(crate) fn refresh_translation_context(&mut self) {
        let user = self.cpl == 3;
        let alignment_check = self.system_flags & rflags::AC != 0;
        let kind = if user {
            Kind::User
        } else if alignment_check && self.cr4 & CR4_SMAP != 0 {
            Kind::SupervisorOverSmap
        } else {
            Kind::Supervisor
        };
        let asid = (self.cr0 & x86_defs::control::CR0_PG != 0).then(|| asid_of(self.cr3, self.cr4));
        let checks = self.alignment_checks() || self.data_breakpoints_armed();
        self.tlb.select(asid, kind, checks);
    }

    /// Whether data accesses that are not aligned raise #AC (SDM 3A 6.15, interrupt 17).
    #[inline]
    pub(crate) fn alignment_checks(&self) -> bool {
        self.cpl == 3 && self.cr0 & CR0_AM != 0 && self.system_flags & rflags::AC != 0
    }

    // Parts

    /// An explicit data access by the running instruction.
    #[inline]
    fn explicit(&self, write: bool) -> Access {
        let user = self.cpl == 3;
        let controls = Controls::new(self.cr0, self.cr4, self.efer);
        Access {
            write,
            fetch: false,
            user,
            smap_override: !user && controls.smap && self.system_flags & rflags::AC != 0,
        }
    }

    /// Checks an explicit access of `size` bytes completely and finds its bytes.
    fn prepare(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        size: u64,
        seg: u8,
        access: Access,
    ) -> Result<Runs, Fault> {
        let vector = if usize::from(seg) == SS { Vector::SS } else { Vector::GP };
        let wraps = !self.mode.is_64() && linear <= 0xffff_ffff;
        let runs = self.translate_range(mem, linear, size, vector, access, wraps)?;
        // Last of the faults of an access (SDM 3A table 6-2).
        if self.alignment_checks() && linear & (size - 1) != 0 {
            return Err(self.raise_code(Vector::AC, 0));
        }
        Ok(runs)
    }

    /// Finds `size` bytes (16 at most) at `linear`; `vector` is for an address that is not canonical. With `wraps` the linear
    /// address space ends at 4 GiB (SDM 3A 3.3.1).
    fn translate_range(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        size: u64,
        vector: Vector,
        access: Access,
        wraps: bool,
    ) -> Result<Runs, Fault> {
        let space = if wraps { 0xffff_ffff } else { u64::MAX };
        let linear = linear & space;
        let last = linear.wrapping_add(size - 1);
        if self.long_mode() && !(is_canonical(linear) && is_canonical(last)) {
            return Err(self.raise_code(vector, 0));
        }
        let first = self.translate(mem, linear, access)?;
        let room = PAGE_SIZE - linear % PAGE_SIZE;
        if size <= room {
            return Ok(Runs { first, first_len: size, second: 0, second_len: 0 });
        }
        let next = linear.wrapping_add(room) & space;
        let second = self.translate(mem, next, access)?;
        Ok(Runs { first, first_len: room, second, second_len: size - room })
    }

    /// Loads what `runs` says.
    fn load<T: Word>(&mut self, mem: &GuestMemory, runs: Runs) -> Result<T, Fault> {
        if runs.second_len == 0
            && let Some(offset) = mem.offset_of(runs.first)
        {
            return Ok(mem.load(offset));
        }
        let low = self.load_run(mem, runs.first, runs.first_len)?;
        if runs.second_len == 0 {
            return Ok(T::truncate(low));
        }
        let high = self.load_run(mem, runs.second, runs.second_len)?;
        Ok(T::truncate(low | high << (8 * runs.first_len)))
    }

    /// Loads bytes within one page.
    fn load_run(&mut self, mem: &GuestMemory, physical: u64, len: u64) -> Result<u128, Fault> {
        let ram = mem.offset_of(physical);
        let mut value = 0;
        for piece in pieces(physical, len, ram.is_some()) {
            let bits = match ram {
                Some(offset) => u128::from(mem.load::<u8>(offset + piece.at)),
                None => {
                    let exit = Exit::MmioRead { address: physical + piece.at, size: piece.size };
                    let mask = u64::MAX >> (64 - 8 * u32::from(piece.size));
                    u128::from(self.ask(exit)? & mask)
                }
            };
            value |= bits << (8 * piece.at);
        }
        Ok(value)
    }

    /// Stores what `runs` says.
    fn store<T: Word>(&mut self, mem: &GuestMemory, runs: Runs, value: T) {
        match mem.offset_of(runs.first) {
            Some(offset) if runs.second_len == 0 => mem.write_at(offset, value),
            _ => {
                let value = value.widen();
                self.store_run(mem, runs.first, runs.first_len, value);
                if runs.second_len != 0 {
                    self.store_run(mem, runs.second, runs.second_len, value >> (8 * runs.first_len));
                }
            }
        }
        self.note_code_writes(mem);
    }

    /// Stores bytes within one page.
    fn store_run(&mut self, mem: &GuestMemory, physical: u64, len: u64, value: u128) {
        let ram = mem.offset_of(physical);
        for piece in pieces(physical, len, ram.is_some()) {
            let bits = (value >> (8 * piece.at)) as u64;
            match ram {
                Some(offset) => mem.write_at(offset + piece.at, bits as u8),
                None => {
                    let value = bits & (u64::MAX >> (64 - 8 * u32::from(piece.size)));
                    self.post(Exit::MmioWrite { address: physical + piece.at, size: piece.size, value });
                }
            }
        }
    }

    /// A write hit decoded code: the run loop has to look before the next block.
    #[inline]
    fn note_code_writes(&mut self, mem: &GuestMemory) {
        if mem.code_written() {
            self.stop_block = true;
        }
    }
}

/// A part of an access that is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Bytes from the start of the access.
    at: u64,
    /// 1, 2, 4 or 8.
    size: u8,
}

/// Cuts `len` bytes (16 at most) at `physical` into pieces: bytes in RAM; on the bus, a transfer of 1, 2, 4 or 8 bytes stays
/// whole, one of 16 becomes two of 8, and any other (a part of an access that crosses pages) the largest aligned ones.
fn pieces(physical: u64, len: u64, ram: bool) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = len - at;
        let size = match left {
            0 => return None,
            _ if ram => 1,
            1 | 2 | 4 | 8 if at == 0 => left,
            8 | 16 if len == 16 => 8,
            _ => {
                let aligned = 1 << physical.wrapping_add(at).trailing_zeros().min(3);
                let fits = 1 << left.ilog2().min(3);
                u64::min(aligned, fits)
            }
        };
        let piece = Piece { at, size: size as u8 };
        at += size;
        Some(piece)
    })
}
