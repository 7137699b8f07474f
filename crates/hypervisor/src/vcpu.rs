//! A virtual processor: the processor in software, its local APIC, and what it is doing.

use x86_cpu::{Controls, Cpu};

use crate::Activity;
use crate::lapic::{Lapic, Now};

/// One virtual processor of a [`crate::Vm`].
#[derive(Debug)]
pub(crate) struct Vcpu {
    pub(crate) cpu: Cpu,
    pub(crate) lapic: Lapic,
    pub(crate) activity: Activity,
}

impl Vcpu {
    /// The processor with this APIC id of a machine with `count`; number 0 is the bootstrap processor, the others wait for a
    /// start-up IPI (SDM 3A 9.4.3).
    pub(crate) fn new(id: u32, count: u32) -> Self {
        let bootstrap = id == 0;
        let mut cpu = Cpu::new(id, count);
        // A processor that spins waits for another, which runs only when this one gives way.
        cpu.set_controls(Controls::default().with_pause_exiting(count > 1));
        Self {
            cpu,
            lapic: Lapic::new(id, bootstrap),
            activity: if bootstrap { Activity::Running } else { Activity::WaitForStartUp },
        }
    }

    /// The present moment as the local APIC wants it.
    pub(crate) fn now(&self) -> Now {
        Now { ns: self.cpu.now(), tsc: self.cpu.time_stamp_counter() }
    }

    /// Tells the processor whether there is an interrupt, and wakes it if that ends a HLT.
    pub(crate) fn update_interrupt_line(&mut self) {
        let line = self.lapic.is_interrupt_deliverable() || self.lapic.extint_pending();
        self.cpu.set_interrupt_line(line);
        let wakes = line && self.cpu.interruptible() || self.cpu.nmi_deliverable();
        if self.activity == Activity::Halted && wakes {
            self.activity = Activity::Running;
        }
    }

    /// INIT: the bootstrap processor starts over, the others wait for a start-up IPI (SDM 3A 9.4.1).
    pub(crate) fn init(&mut self) {
        self.cpu.init();
        self.lapic.init();
        self.activity = if self.lapic.is_bootstrap() { Activity::Running } else { Activity::WaitForStartUp };
    }

    /// Start-up IPI: heard only after INIT.
    pub(crate) fn start_up(&mut self, page: u8) {
        if self.activity == Activity::WaitForStartUp {
            self.cpu.start_at_page(page);
            self.activity = Activity::Running;
        }
    }
}
