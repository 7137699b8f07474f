//! Delivery of exceptions and interrupts (SDM 3A chapter 6; SDM 2A INT n).
//!
//! One event goes through one gate in [`Cpu::deliver`]. What happens when that faults itself, up to the triple fault, is in
//! [`Cpu::deliver_exception`]. Every delivery counts as one retired instruction, so that a guest that does nothing but fault
//! makes time pass.

use guest_memory::GuestMemory;
use x86_defs::control::{DR6_BD, DR7_GD};
use x86_defs::gpr::RSP;
use x86_defs::rflags::{AC, IF, NT, RF, TF, VM};
use x86_defs::segment::index::{CS, DS, ES, FS, GS, SS};
use x86_defs::segment::{Segment, system_type};
use x86_defs::{Exception, Vector};

use crate::Cpu;
use crate::event::{Exit, InterruptShadow, Pending};
use crate::op::Fault;
use crate::system::descriptor::{Descriptor, error_of, is_null};
use crate::system::far_transfer::TASK_SWITCH;
use crate::system::segment_load::{null_segment, null_ss, real_mode_load};
use crate::system::stack::Stack;

/// Bit of a selector error code: the selector is one of the IDT.
const ERROR_IDT: u32 = 2;
/// Bit of an error code: an event outside the program was being delivered.
const ERROR_EXT: u32 = 1;
/// DR6 bits that tell of the present debug exception alone: B0 to B3.
const DR6_BREAKPOINTS: u64 = 0xf;

/// An event on its way through its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) vector: u8,
    /// What is pushed behind the return address, in protected mode.
    pub(super) error_code: Option<u32>,
    /// INT n, INT3, INTO: the gate's DPL is checked.
    pub(super) software: bool,
    /// 1 (EXT) in error codes of faults met on the way, unless software asked for the event.
    pub(super) ext: u32,
    /// RF in the pushed flags.
    pub(super) resume: bool,
    /// The pushed instruction pointer.
    pub(super) return_ip: u64,
}

/// How an exception combines with one that its delivery meets (SDM 3A table 6-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

impl Class {
    const fn of(vector: Vector) -> Self {
        match vector {
            Vector::DE | Vector::TS | Vector::NP | Vector::SS | Vector::GP => Self::Contributory,
            Vector::PF => Self::PageFault,
            Vector::DF => Self::DoubleFault,
            _ => Self::Benign,
        }
    }
}

/// What follows when `second` is met in the delivery of `first` (SDM 3A table 6-5). `None` is the triple fault.
fn combine(first: Vector, second: Exception) -> Option<Exception> {
    use Class::{Contributory, DoubleFault, PageFault};
    match (Class::of(first), Class::of(second.vector)) {
        (DoubleFault, Contributory | PageFault) => None,
        (Contributory, Contributory) | (PageFault, Contributory | PageFault) => {
            Some(Exception::new(Vector::DF, 0))
        }
        _ => Some(second),
    }
}

/// Whether a vector is of the fault class, so that its handler returns to the instruction with RF set (SDM 3B 18.3.1.1). #DB
/// is treated apart: of its faults, an instruction breakpoint pushes RF as it is and general detect pushes 1.
const fn is_fault(vector: Vector) -> bool {
    !matches!(vector, Vector::DB | Vector::NMI | Vector::BP | Vector::OF | Vector::DF | Vector::MC)
}

/// Whether this is the #DB of general detect (SDM 3B table 18-2), a fault.
const fn tells_of_debug_register_access(exception: &Exception) -> bool {
    exception.vector.0 == Vector::DB.0 && exception.payload & DR6_BD != 0
}

impl Cpu {
    /// Delivers an exception of the instruction at `rip`, and whatever follows if that faults in turn.
    ///
    /// # Errors
    /// [`Exit::Shutdown`] for a triple fault; [`Exit::Unsupported`] for a task gate, or for tables or stacks that would have to
    /// be read from a device.
    pub(crate) fn deliver_exception(&mut self, mem: &GuestMemory, exception: Exception) -> Result<(), Exit> {
        self.pending = Pending::None;
        let mut current = exception;
        // Traps that waited for the end of an instruction die with it when it faults.
        if is_fault(current.vector) {
            self.debug_pending = 0;
        }
        self.note_payload(&current);
        loop {
            let event = Event {
                vector: current.vector.0,
                error_code: current.vector.has_error_code().then_some(current.error_code),
                software: false,
                ext: ERROR_EXT,
                resume: is_fault(current.vector) || tells_of_debug_register_access(&current),
                return_ip: self.rip,
            };
            let Err(Fault) = self.deliver(mem, event) else {
                self.retired = self.retired.wrapping_add(1);
                return Ok(());
            };
            let second = self.taken_fault()?;
            self.note_payload(&second);
            current = combine(current.vector, second).ok_or(Exit::Shutdown)?;
        }
    }

    /// The exception that a delivery has left, or the exit.
    fn taken_fault(&mut self) -> Result<Exception, Exit> {
        match std::mem::take(&mut self.pending) {
            Pending::Exception(exception) => Ok(exception),
            Pending::Exit(exit @ Exit::Unsupported { .. }) => Err(exit),
            Pending::Exit(_) | Pending::None | Pending::Again => {
                Err(Exit::Unsupported { what: "an event delivered through tables or stacks in a device" })
            }
        }
    }

    /// CR2 and DR6 as the exception leaves them; they stay so even if its delivery faults.
    fn note_payload(&mut self, exception: &Exception) {
        match exception.vector {
            Vector::PF => self.cr2 = exception.payload,
            Vector::DB => {
                self.dr6 = (self.dr6 & !DR6_BREAKPOINTS) | exception.payload;
                // SDM 3B 18.2.4: the handler may use the debug registers.
                self.dr7 &= !DR7_GD;
            }
            _ => {}
        }
    }

    /// Delivers an external interrupt at the boundary behind the last instruction; L0 calls it on
    /// [`Exit::InterruptWindow`]. A REP instruction that is interrupted between iterations resumes with RF set.
    ///
    /// # Errors
    /// [`Exit::Shutdown`] if delivery ends in a triple fault, [`Exit::Unsupported`] if it needs a task switch.
    pub fn interrupt(&mut self, mem: &GuestMemory, vector: u8) -> Result<(), Exit> {
        self.deliver_interrupt(mem, vector)
    }

    /// Delivers the pending NMI; further ones are blocked until IRET (SDM 3A 6.7.1).
    pub(crate) fn deliver_nmi(&mut self, mem: &GuestMemory) -> Result<(), Exit> {
        self.nmi_pending = false;
        self.nmi_blocked = true;
        self.deliver_interrupt(mem, Vector::NMI.0)
    }

    fn deliver_interrupt(&mut self, mem: &GuestMemory, vector: u8) -> Result<(), Exit> {
        let event = Event {
            vector,
            error_code: None,
            software: false,
            ext: ERROR_EXT,
            resume: self.pending == Pending::Again,
            return_ip: self.rip,
        };
        self.pending = Pending::None;
        if self.deliver(mem, event).is_ok() {
            self.retired = self.retired.wrapping_add(1);
            return Ok(());
        }
        // An interrupt is benign: the fault it met is delivered in its place (SDM 3A table 6-5).
        let fault = self.taken_fault()?;
        self.deliver_exception(mem, fault)
    }

    /// Takes one event through its gate. Nothing is changed if that faults, except for accessed bits and memory below the stack
    /// pointer.
    pub(super) fn deliver(&mut self, mem: &GuestMemory, event: Event) -> Result<(), Fault> {
        if self.protected() { self.deliver_protected(mem, event) } else { self.deliver_real(mem, event) }
    }

    /// The flags as they are pushed.
    fn pushed_flags(&self, event: &Event) -> u64 {
        self.rflags() | if event.resume { RF } else { 0 }
    }

    /// Enters the handler: everything has been checked and pushed.
    fn enter_handler(&mut self, cs: Segment, cpl: u8, rip: u64, clear: u64) {
        self.shadow = InterruptShadow::None;
        self.rip = rip;
        let flags = self.rflags() & !clear;
        self.enter_code(cs, cpl);
        self.load_rflags(flags);
    }

    /// SDM 3B 20.1.4: through the table of far pointers.
    fn deliver_real(&mut self, mem: &GuestMemory, event: Event) -> Result<(), Fault> {
        let offset = u64::from(event.vector) * 4;
        if offset + 3 > u64::from(self.idtr.limit) {
            let code = (u32::from(event.vector) << 3) | ERROR_IDT | event.ext;
            return Err(self.raise_code(Vector::GP, code));
        }
        let pointer = self.read_system::<u32>(mem, self.table_address(self.idtr.base, offset))?;
        let cs = real_mode_load(&self.segs[CS], (pointer >> 16) as u16);
        let rip = self.check_target(&cs, u64::from(pointer & 0xffff), event.ext)?;
        let mut stack = Stack::current(self, event.ext);
        stack.push(self, mem, 1, self.pushed_flags(&event))?;
        stack.push(self, mem, 1, self.segs[CS].selector.into())?;
        stack.push(self, mem, 1, event.return_ip)?;
        self.regs[RSP] = stack.sp;
        self.enter_handler(cs, 0, rip, IF | TF | AC | RF);
        Ok(())
    }

    fn deliver_protected(&mut self, mem: &GuestMemory, event: Event) -> Result<(), Fault> {
        let gate = self.read_gate(mem, &event)?;
        let selector = gate.selector;
        if is_null(selector) {
            return Err(self.raise_code(Vector::GP, event.ext));
        }
        let code = self.read_descriptor(mem, selector, Vector::GP, event.ext)?;
        let wrong_width = self.long_mode() && (!code.is_long() || code.is_long_and_default());
        if !code.is_code() || code.dpl() > self.cpl || wrong_width {
            return Err(self.raise_code(Vector::GP, error_of(selector) | event.ext));
        }
        if !code.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector) | event.ext));
        }
        let inner = !code.is_conforming_code() && code.dpl() < self.cpl;
        // SDM 3B 20.3.1: out of virtual-8086 mode only to level 0.
        if self.v86() && (!inner || code.dpl() != 0) {
            return Err(self.raise_code(Vector::GP, error_of(selector) | event.ext));
        }
        let cpl = if inner { code.dpl() } else { self.cpl };
        let cs = code.code_segment(cpl);
        if self.long_mode() {
            self.deliver_long(mem, &event, &gate, &code, cs, inner)
        } else {
            self.deliver_legacy(mem, &event, &gate, &code, cs, inner)
        }
    }

    fn deliver_legacy(
        &mut self,
        mem: &GuestMemory,
        event: &Event,
        gate: &Gate,
        code: &Descriptor,
        cs: Segment,
        inner: bool,
    ) -> Result<(), Fault> {
        let size = gate.size;
        let from_v86 = self.v86();
        let cpl = if inner { code.dpl() } else { self.cpl };
        let new_stack = if inner { Some(self.read_inner_stack(mem, cpl, event.ext)?) } else { None };
        let mut stack = match new_stack {
            Some((ss, sp)) => Stack::other(ss, sp, cpl, error_of(ss.selector) | event.ext),
            None => Stack::current(self, event.ext),
        };
        let rip = self.check_target(&cs, gate.offset, event.ext)?;
        if from_v86 {
            for index in [GS, FS, DS, ES] {
                stack.push(self, mem, size, self.segs[index].selector.into())?;
            }
        }
        if inner {
            stack.push(self, mem, size, self.segs[SS].selector.into())?;
            stack.push(self, mem, size, self.regs[RSP])?;
        }
        self.push_frame(mem, &mut stack, event, size)?;
        self.mark_accessed(mem, code)?;
        if let Some((ss, _)) = new_stack {
            self.segs[SS] = ss;
        }
        self.regs[RSP] = stack.sp;
        if from_v86 {
            for index in [GS, FS, DS, ES] {
                self.segs[index] = null_segment(0);
            }
        }
        self.enter_handler(cs, cpl, rip, gate.flags_to_clear());
        Ok(())
    }

    /// SDM 3A 6.14: always a 64-bit frame with SS:RSP, on a stack aligned to 16 bytes.
    fn deliver_long(
        &mut self,
        mem: &GuestMemory,
        event: &Event,
        gate: &Gate,
        code: &Descriptor,
        cs: Segment,
        inner: bool,
    ) -> Result<(), Fault> {
        let cpl = if inner { code.dpl() } else { self.cpl };
        let sp = if gate.ist != 0 {
            self.read_long_tss_stack(mem, 3 + gate.ist, event.ext)?
        } else if inner {
            self.read_long_tss_stack(mem, cpl.into(), event.ext)?
        } else {
            self.regs[RSP]
        };
        let mut stack = Stack::long(sp & !0xf, cpl, event.ext);
        let rip = self.check_target(&cs, gate.offset, event.ext)?;
        stack.push(self, mem, 3, self.segs[SS].selector.into())?;
        stack.push(self, mem, 3, self.regs[RSP])?;
        self.push_frame(mem, &mut stack, event, 3)?;
        self.mark_accessed(mem, code)?;
        if inner {
            self.segs[SS] = null_ss(cpl.into(), cpl);
        }
        self.regs[RSP] = stack.sp;
        self.enter_handler(cs, cpl, rip, gate.flags_to_clear());
        Ok(())
    }

    /// Flags, CS, the return address and the error code.
    fn push_frame(
        &mut self,
        mem: &GuestMemory,
        stack: &mut Stack,
        event: &Event,
        size: u8,
    ) -> Result<(), Fault> {
        stack.push(self, mem, size, self.pushed_flags(event))?;
        stack.push(self, mem, size, self.segs[CS].selector.into())?;
        stack.push(self, mem, size, event.return_ip)?;
        if let Some(code) = event.error_code {
            stack.push(self, mem, size, code.into())?;
        }
        Ok(())
    }

    /// Reads and checks the gate of an event (SDM 3A 6.11, 6.14.1).
    fn read_gate(&mut self, mem: &GuestMemory, event: &Event) -> Result<Gate, Fault> {
        let long = self.long_mode();
        let bytes = if long { 16 } else { 8 };
        let offset = u64::from(event.vector) * bytes;
        let error = (u32::from(event.vector) << 3) | ERROR_IDT | event.ext;
        if offset + bytes - 1 > u64::from(self.idtr.limit) {
            return Err(self.raise_code(Vector::GP, error));
        }
        let low = self.read_system::<u64>(mem, self.table_address(self.idtr.base, offset))?;
        let high = if long {
            self.read_system::<u64>(mem, self.table_address(self.idtr.base, offset + 8))?
        } else {
            0
        };
        // S has to be 0: the five bits hold S and the type.
        let kind = ((low >> 40) & 0x1f) as u32;
        let known = match kind {
            system_type::INTERRUPT_GATE | system_type::TRAP_GATE => true,
            system_type::INTERRUPT_GATE16 | system_type::TRAP_GATE16 | system_type::TASK_GATE => !long,
            _ => false,
        };
        let dpl = ((low >> 45) & 3) as u8;
        if !known || (event.software && dpl < self.cpl) {
            return Err(self.raise_code(Vector::GP, error));
        }
        if low & (1 << 47) == 0 {
            return Err(self.raise_code(Vector::NP, error));
        }
        if kind == system_type::TASK_GATE {
            return Err(self.unsupported(TASK_SWITCH));
        }
        let wide = matches!(kind, system_type::INTERRUPT_GATE | system_type::TRAP_GATE);
        let mut target = low & 0xffff;
        if wide {
            target |= (low >> 32) & 0xffff_0000;
        }
        if long {
            target |= high << 32;
        }
        Ok(Gate {
            selector: (low >> 16) as u16,
            offset: target,
            size: if wide { 2 } else { 1 },
            interrupt: matches!(kind, system_type::INTERRUPT_GATE | system_type::INTERRUPT_GATE16),
            ist: if long { (low >> 32) & 7 } else { 0 },
        })
    }
}

/// An interrupt or trap gate.
#[derive(Clone, Copy, Debug)]
struct Gate {
    selector: u16,
    offset: u64,
    /// log2 of the bytes of a pushed value, outside IA-32e mode.
    size: u8,
    /// An interrupt gate, which clears IF.
    interrupt: bool,
    /// Entry of the interrupt stack table, 0 for none.
    ist: u64,
}

impl Gate {
    const fn flags_to_clear(&self) -> u64 {
        TF | NT | VM | RF | if self.interrupt { IF } else { 0 }
    }
}
