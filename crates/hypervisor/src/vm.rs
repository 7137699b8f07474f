//! The virtual machine: memory, processors, and the messages between them.

use std::time::Instant;

use guest_memory::GuestMemory;
use x86_cpu::{Answer, BlockCache, Clock, DebugRegisters, Exit, MsrRefused, Registers, SpecialRegisters};

use crate::lapic::{Delivery, Effects, Lapic, LocalEvent, LocalPin, Message, destinations};
use crate::vcpu::Vcpu;
use crate::{Activity, RunExit};

/// Most processors of a machine.
const MOST_VCPUS: u32 = 16;

/// Where virtual time comes from, in nanoseconds since power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The machine says what time it is when it runs a processor; from there one retired instruction is one nanosecond.
    Retired {
        /// Virtual time now.
        now: u64,
    },
    /// The host's clock.
    Host {
        /// The host's clock at `virtual_start`.
        start: Instant,
        /// Virtual time at `start`.
        virtual_start: u64,
    },
}

/// Memory and processors.
#[derive(Debug)]
pub struct Vm {
    pub(crate) memory: GuestMemory,
    blocks: BlockCache,
    pub(crate) vcpus: Vec<Vcpu>,
}

impl Vm {
    /// A machine of `vcpus` processors, as after power-on.
    ///
    /// # Panics
    /// If `vcpus` is not 1 to 16; the machine's configuration checks that.
    #[must_use]
    pub fn new(memory: GuestMemory, vcpus: u32) -> Self {
        assert!((1..=MOST_VCPUS).contains(&vcpus), "{vcpus} processors");
        Self { memory, blocks: BlockCache::new(), vcpus: (0..vcpus).map(|id| Vcpu::new(id, vcpus)).collect() }
    }

    /// Guest memory.
    #[must_use]
    pub const fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// How many processors there are.
    #[must_use]
    pub fn vcpu_count(&self) -> usize {
        self.vcpus.len()
    }

    /// What a processor is doing.
    #[must_use]
    pub fn activity(&self, vcpu: usize) -> Activity {
        self.vcpus[vcpu].activity
    }

    /// Sets what a processor is doing (KVM_SET_MP_STATE).
    pub fn set_activity(&mut self, vcpu: usize, activity: Activity) {
        self.vcpus[vcpu].activity = activity;
    }

    /// General registers, RIP and RFLAGS (KVM_GET_REGS).
    #[must_use]
    pub fn registers(&self, vcpu: usize) -> Registers {
        self.vcpus[vcpu].cpu.registers()
    }

    /// Sets general registers, RIP and RFLAGS (KVM_SET_REGS).
    pub fn set_registers(&mut self, vcpu: usize, registers: &Registers) {
        self.vcpus[vcpu].cpu.set_registers(registers);
    }

    /// Segments, descriptor tables, control registers, EFER (KVM_GET_SREGS).
    #[must_use]
    pub fn special_registers(&self, vcpu: usize) -> SpecialRegisters {
        self.vcpus[vcpu].cpu.special_registers()
    }

    /// Sets segments, descriptor tables, control registers, EFER (KVM_SET_SREGS).
    ///
    /// # Errors
    /// Which register no processor could hold.
    pub fn set_special_registers(
        &mut self,
        vcpu: usize,
        registers: &SpecialRegisters,
    ) -> Result<(), x86_cpu::InvalidRegister> {
        self.vcpus[vcpu].cpu.set_special_registers(registers)
    }

    /// Debug registers (KVM_GET_DEBUGREGS).
    #[must_use]
    pub fn debug_registers(&self, vcpu: usize) -> DebugRegisters {
        self.vcpus[vcpu].cpu.debug_registers()
    }

    /// The local APIC of a processor.
    #[must_use]
    pub fn lapic(&self, vcpu: usize) -> &Lapic {
        &self.vcpus[vcpu].lapic
    }

    /// Reads an MSR as L0 (KVM_GET_MSRS).
    ///
    /// # Errors
    /// If there is no such MSR in the processor itself; those of the local APIC are in [`Self::lapic`].
    pub fn read_msr(&self, vcpu: usize, index: u32) -> Result<u64, MsrRefused> {
        self.vcpus[vcpu].cpu.read_msr(index)
    }

    /// Writes an MSR as L0 (KVM_SET_MSRS).
    ///
    /// # Errors
    /// If there is no such MSR, or it cannot hold the value.
    pub fn write_msr(&mut self, vcpu: usize, index: u32, value: u64) -> Result<(), MsrRefused> {
        self.vcpus[vcpu].cpu.write_msr(index, value)
    }

    /// Sets up the local APIC of the bootstrap processor as a PC's firmware leaves it before it boots an operating system:
    /// enabled, with LINT0 as ExtINT and LINT1 as NMI (virtual wire mode, MultiProcessor Specification 3.6.2.2).
    pub fn set_virtual_wire_mode(&mut self) {
        let vcpu = &mut self.vcpus[0];
        let now = vcpu.now();
        for (register, value) in [
            (crate::lapic::registers::SVR, 0x1ff),
            (crate::lapic::registers::LVT_LINT0, 0x700),
            (crate::lapic::registers::LVT_LINT1, 0x400),
        ] {
            let effects = vcpu.lapic.write(register, value, now);
            debug_assert_eq!(effects.ipi, None, "no such write sends an IPI");
        }
    }

    /// Instructions retired by all processors.
    #[must_use]
    pub fn retired(&self) -> u64 {
        self.vcpus.iter().map(|vcpu| vcpu.cpu.retired()).fold(0, u64::wrapping_add)
    }

    /// Instructions retired by one processor.
    #[must_use]
    pub fn retired_by(&self, vcpu: usize) -> u64 {
        self.vcpus[vcpu].cpu.retired()
    }

    /// Says what time it is, before a processor runs or is looked at.
    pub fn set_time(&mut self, vcpu: usize, time: TimeSource) {
        let cpu = &mut self.vcpus[vcpu].cpu;
        cpu.set_clock(match time {
            TimeSource::Retired { now } => Clock::Retired { offset: now.wrapping_sub(cpu.retired()) },
            TimeSource::Host { start, virtual_start } => Clock::Host { start, virtual_start },
        });
    }

    /// When the timer of a processor's local APIC is due, in nanoseconds since power-on.
    #[must_use]
    pub fn next_event(&self, vcpu: usize) -> Option<u64> {
        let vcpu = &self.vcpus[vcpu];
        vcpu.lapic.next_event(vcpu.now())
    }

    /// Whether a processor has something to do now: it executes, or an interrupt would wake it.
    pub fn is_runnable(&mut self, vcpu: usize) -> bool {
        let vcpu = &mut self.vcpus[vcpu];
        let now = vcpu.now();
        vcpu.lapic.advance(now);
        vcpu.update_interrupt_line();
        vcpu.activity == Activity::Running
    }

    /// Whether anything from outside could make a waiting processor go on: it halts with interrupts on, or it waits for IPIs
    /// of one that can.
    #[must_use]
    pub fn can_be_woken(&self, vcpu: usize) -> bool {
        let vcpu = &self.vcpus[vcpu];
        vcpu.activity == Activity::Halted && vcpu.cpu.rflags() & x86_defs::rflags::IF != 0
    }

    /// Runs one processor for at most `budget` instructions.
    pub fn run(&mut self, index: usize, budget: u64) -> RunExit {
        let end = self.vcpus[index].cpu.retired().saturating_add(budget);
        loop {
            if !self.is_runnable(index) {
                return if self.vcpus[index].activity == Activity::Shutdown {
                    RunExit::Shutdown
                } else {
                    RunExit::Idle
                };
            }
            let vcpu = &mut self.vcpus[index];
            let mut left = end.saturating_sub(vcpu.cpu.retired());
            if left == 0 {
                return RunExit::Budget;
            }
            let now = vcpu.now();
            if let Some(event) = vcpu.lapic.next_event(now) {
                left = left.min(event.saturating_sub(now.ns).max(1));
            }
            let exit = vcpu.cpu.run(&self.memory, &mut self.blocks, left);
            if let Some(exit) = self.handle(index, exit) {
                return exit;
            }
        }
    }

    /// Answers the exit that asked for a value.
    pub fn answer(&mut self, vcpu: usize, exit: RunExit, value: u64) {
        let asked = match exit {
            RunExit::IoRead { port, size } => Exit::IoRead { port, size },
            RunExit::MmioRead { address, size } => Exit::MmioRead { address, size },
            _ => return,
        };
        self.vcpus[vcpu].cpu.answer(asked, Answer::Value(value));
    }

    /// Delivers the vector the 8259 gave.
    ///
    /// # Errors
    /// The exit if delivery ends in a triple fault.
    pub fn interrupt(&mut self, vcpu: usize, vector: u8) -> Result<(), RunExit> {
        self.vcpus[vcpu].cpu.interrupt(&self.memory, vector).map_err(|_| {
            self.vcpus[vcpu].activity = Activity::Shutdown;
            RunExit::Shutdown
        })
    }

    /// The level of the 8259's INTR, wired to LINT0 of the bootstrap processor.
    pub fn set_intr(&mut self, asserted: bool) {
        let event = self.vcpus[0].lapic.set_pin(LocalPin::Lint0, asserted);
        self.local_event(0, event);
        self.vcpus[0].update_interrupt_line();
    }

    /// Sends a message from outside (I/O APIC, MSI).
    pub fn send(&mut self, message: &Message) {
        self.dispatch(None, message);
    }

    /// RESET of the whole machine: processors as after power-on; memory stays.
    pub fn reset(&mut self) {
        let count = u32::try_from(self.vcpus.len()).unwrap_or(MOST_VCPUS);
        for (id, vcpu) in (0..count).zip(&mut self.vcpus) {
            *vcpu = Vcpu::new(id, count);
        }
    }

    /// Deals with an exit of the processor; what is left for the machine is returned.
    fn handle(&mut self, index: usize, exit: Exit) -> Option<RunExit> {
        let vcpu = &mut self.vcpus[index];
        let now = vcpu.now();
        match exit {
            Exit::Budget => None,
            Exit::Halt => {
                vcpu.activity = Activity::Halted;
                None
            }
            Exit::Pause => Some(RunExit::Pause),
            Exit::IoRead { port, size } => Some(RunExit::IoRead { port, size }),
            Exit::IoWrite { port, size, value } => Some(RunExit::IoWrite { port, size, value }),
            Exit::MmioRead { address, size } => match apic_offset(&vcpu.lapic, address) {
                Some(offset) => {
                    let value = vcpu.lapic.mmio_read(offset, usize::from(size), now);
                    vcpu.cpu.answer(exit, Answer::Value(value));
                    None
                }
                None => Some(RunExit::MmioRead { address, size }),
            },
            Exit::MmioWrite { address, size, value } => match apic_offset(&vcpu.lapic, address) {
                Some(offset) => {
                    let effects = vcpu.lapic.mmio_write(offset, usize::from(size), value, now);
                    self.carry_out(index, effects)
                }
                None => Some(RunExit::MmioWrite { address, size, value }),
            },
            Exit::MsrRead { index: msr } => {
                let answer = match vcpu.lapic.msr_read(msr, now) {
                    Ok(value) => Answer::Value(value),
                    Err(_) => Answer::GeneralProtection,
                };
                vcpu.cpu.answer(exit, answer);
                None
            }
            Exit::MsrWrite { index: msr, value } => match vcpu.lapic.msr_write(msr, value, now) {
                Ok(effects) => {
                    vcpu.cpu.answer(exit, Answer::Value(0));
                    self.carry_out(index, effects)
                }
                Err(_) => {
                    vcpu.cpu.answer(exit, Answer::GeneralProtection);
                    None
                }
            },
            Exit::Cr8Read => {
                let value = u64::from(vcpu.lapic.cr8());
                vcpu.cpu.answer(exit, Answer::Value(value));
                None
            }
            Exit::Cr8Write { value } => {
                vcpu.lapic.set_cr8(value);
                None
            }
            Exit::InterruptWindow => self.deliver_interrupt(index),
            Exit::Shutdown => {
                vcpu.activity = Activity::Shutdown;
                Some(RunExit::Shutdown)
            }
            Exit::Unsupported { what } => Some(RunExit::Unsupported { what }),
        }
    }

    /// Gives the processor the interrupt its line stands for.
    fn deliver_interrupt(&mut self, index: usize) -> Option<RunExit> {
        let vcpu = &mut self.vcpus[index];
        if vcpu.lapic.extint_pending() {
            return Some(RunExit::InterruptAcknowledge);
        }
        if !vcpu.lapic.is_interrupt_deliverable() {
            return None;
        }
        let vector = vcpu.lapic.acknowledge();
        if vcpu.cpu.interrupt(&self.memory, vector).is_err() {
            vcpu.activity = Activity::Shutdown;
            return Some(RunExit::Shutdown);
        }
        None
    }

    /// Does what a write to a local APIC asked for.
    fn carry_out(&mut self, index: usize, effects: Effects) -> Option<RunExit> {
        if let Some(message) = effects.ipi {
            self.dispatch(Some(index), &message);
        }
        effects.eoi_broadcast.map(|vector| RunExit::IoapicEoi { vector })
    }

    /// Brings a message to the processors it is for.
    fn dispatch(&mut self, sender: Option<usize>, message: &Message) {
        let targets = destinations(self.vcpus.iter().map(|vcpu| &vcpu.lapic), sender, message);
        for index in 0..self.vcpus.len() {
            if targets & (1 << index) == 0 {
                continue;
            }
            let vcpu = &mut self.vcpus[index];
            match vcpu.lapic.deliver(message) {
                Delivery::Nmi => vcpu.cpu.set_nmi_pending(),
                Delivery::Init => vcpu.init(),
                Delivery::StartUp { page } => vcpu.start_up(page),
                // System-management mode is not part of this processor; nothing of the machine sends SMIs.
                Delivery::Dropped | Delivery::Requested | Delivery::Smi | Delivery::ExtInt => {}
            }
            vcpu.update_interrupt_line();
        }
    }

    fn local_event(&mut self, index: usize, event: LocalEvent) {
        let vcpu = &mut self.vcpus[index];
        match event {
            LocalEvent::Nmi => vcpu.cpu.set_nmi_pending(),
            LocalEvent::Init => vcpu.init(),
            LocalEvent::None | LocalEvent::Smi => {}
        }
    }
}

/// Offset in the register page of the local APIC, if `address` is there.
fn apic_offset(lapic: &Lapic, address: u64) -> Option<u16> {
    let base = lapic.mmio_base()?;
    let offset = address.wrapping_sub(base);
    (offset < 4096).then_some(offset as u16)
}
