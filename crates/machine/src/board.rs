//! The board: the chips, what ports and addresses they answer at, and how their interrupt lines run.
//!
//! ISA interrupt lines go to the 8259 pair and to the I/O APIC pin of the same number, but for the timer, whose line is pin 2
//! of the I/O APIC, as the ACPI tables tell the guest.

use devices::{
    AcpiPm, DebugConsole, DebugExit, DmaMemory, FwCfg, I8042, InterruptMessage, IoApic, PciConfig, Pic, Pit,
    PostPort, ResetControl, Rtc, Uart, open_bus,
};
use guest_memory::GuestMemory;
use hypervisor::Vm;
use hypervisor::lapic::{DeliveryMode, DestinationMode, Message, Shorthand, TriggerMode};

use crate::acpi::SCI_IRQ;

/// What a guest asked of the machine as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// S5.
    PowerOff,
    /// RESET, through any of its ports.
    Reset,
    /// isa-debug-exit, with the exit status.
    Exit(u32),
}

/// The chips of the PC.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) pic: Pic,
    pub(crate) ioapic: IoApic,
    pub(crate) pit: Pit,
    pub(crate) rtc: Rtc,
    pub(crate) com1: Uart,
    pub(crate) com2: Uart,
    pub(crate) i8042: I8042,
    pub(crate) pci: PciConfig,
    pub(crate) pm: AcpiPm,
    pub(crate) reset: ResetControl,
    pub(crate) debug_exit: DebugExit,
    pub(crate) debug_console: DebugConsole,
    pub(crate) post: PostPort,
    pub(crate) fw_cfg: FwCfg,
    /// Levels of the ISA interrupt lines as the interrupt controllers saw them last.
    pub(crate) lines: u16,
}

impl Board {
    /// The board as after power-on.
    pub(crate) fn new(memory: u64, cpus: u32, start_time: i64) -> Self {
        Self {
            pic: Pic::new(),
            ioapic: IoApic::new(),
            pit: Pit::new(),
            rtc: Rtc::new(start_time),
            com1: Uart::new(*Uart::COM1_PORTS.start()),
            com2: Uart::new(*Uart::COM2_PORTS.start()),
            i8042: I8042::new(),
            pci: PciConfig::new(),
            pm: AcpiPm::new(),
            reset: ResetControl::new(),
            debug_exit: DebugExit::new(),
            debug_console: DebugConsole::new(),
            post: PostPort::new(),
            fw_cfg: FwCfg::new(memory, u16::try_from(cpus).unwrap_or(u16::MAX)),
            lines: 0,
        }
    }

    /// IN.
    pub(crate) fn read_port(&mut self, port: u16, size: u8, now: u64) -> u32 {
        match port {
            0x20..=0x21 | 0xa0..=0xa1 | 0x4d0..=0x4d1 => self.pic.read(port, size, now),
            0x40..=0x43 | 0x61 => self.pit.read(port, size, now),
            0x60 | 0x64 | 0x92 => self.i8042.read(port, size, now),
            0x70..=0x71 => self.rtc.read(port, size, now),
            PostPort::PORT => self.post.read(port, size, now),
            DebugConsole::PORT => self.debug_console.read(port, size, now),
            0xf4..=0xf7 => self.debug_exit.read(port, size, now),
            0x2f8..=0x2ff => self.com2.read(port, size, now),
            0x3f8..=0x3ff => self.com1.read(port, size, now),
            0x510..=0x51b => self.fw_cfg.read(port, size, now),
            0x600..=0x60b => self.pm.read(port, size, now),
            // A byte at 0xcf9 is the reset register; anything wider there belongs to PCI configuration.
            ResetControl::PORT if size == 1 => self.reset.read(port, size, now),
            0xcf8..=0xcff => self.pci.read(port, size, now),
            _ => open_bus(size),
        }
    }

    /// OUT.
    pub(crate) fn write_port(&mut self, port: u16, size: u8, value: u32, now: u64, memory: &GuestMemory) {
        match port {
            0x20..=0x21 | 0xa0..=0xa1 | 0x4d0..=0x4d1 => self.pic.write(port, size, value, now),
            0x40..=0x43 | 0x61 => self.pit.write(port, size, value, now),
            0x60 | 0x64 | 0x92 => self.i8042.write(port, size, value, now),
            0x70..=0x71 => self.rtc.write(port, size, value, now),
            PostPort::PORT => self.post.write(port, size, value, now),
            DebugConsole::PORT => self.debug_console.write(port, size, value, now),
            0xf4..=0xf7 => self.debug_exit.write(port, size, value, now),
            0x2f8..=0x2ff => self.com2.write(port, size, value, now),
            0x3f8..=0x3ff => self.com1.write(port, size, value, now),
            0x510..=0x51b => {
                self.fw_cfg.write(port, size, value, now);
                if self.fw_cfg.dma_pending() {
                    self.fw_cfg.run_dma(&mut Dma(memory));
                }
            }
            0x600..=0x60b => self.pm.write(port, size, value, now),
            ResetControl::PORT if size == 1 => self.reset.write(port, size, value, now),
            0xcf8..=0xcff => self.pci.write(port, size, value, now),
            _ => {}
        }
    }

    /// A load from an address that is neither RAM nor a local APIC.
    pub(crate) fn read_memory(&mut self, address: u64, size: u8, now: u64) -> u64 {
        let offset = address.wrapping_sub(IoApic::BASE);
        if IoApic::RANGE.contains(&offset) {
            let low = u64::from(self.ioapic.read(offset, size.min(4), now));
            // The upper half of an 8-byte load lies in the padding behind a register.
            return low;
        }
        u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
    }

    /// A store to an address that is neither RAM nor a local APIC.
    pub(crate) fn write_memory(&mut self, address: u64, size: u8, value: u64, now: u64) {
        let offset = address.wrapping_sub(IoApic::BASE);
        if IoApic::RANGE.contains(&offset) {
            self.ioapic.write(offset, size.min(4), value as u32, now);
        }
    }

    /// Lets time pass until `now`, event by event, so that no edge of an interrupt line is lost, and routes the interrupts.
    pub(crate) fn advance(&mut self, now: u64, vm: &mut Vm) {
        while let Some(event) = self.next_event().filter(|&event| event <= now) {
            self.advance_chips(event);
            self.route_interrupts(vm);
            if self.next_event().is_some_and(|next| next <= event) {
                // A chip whose event is not over by its own time would hold up all others.
                break;
            }
        }
        self.advance_chips(now);
        self.route_interrupts(vm);
    }

    fn advance_chips(&mut self, now: u64) {
        self.pit.advance(now);
        self.rtc.advance(now);
        self.com1.advance(now);
        self.com2.advance(now);
        self.pm.advance(now);
    }

    /// When the next chip has something to do.
    pub(crate) fn next_event(&self) -> Option<u64> {
        [
            self.pit.next_event(),
            self.rtc.next_event(),
            self.com1.next_event(),
            self.com2.next_event(),
            self.pm.next_event(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Brings the levels of the interrupt lines to the controllers, and what these send to the processors.
    pub(crate) fn route_interrupts(&mut self, vm: &mut Vm) {
        let mut lines = 0_u16;
        for (irq, level) in [
            (0, self.pit.irq_level()),
            (I8042::IRQ, self.i8042.irq_level()),
            (Uart::COM2_IRQ, self.com2.irq_level()),
            (Uart::COM1_IRQ, self.com1.irq_level()),
            (Rtc::IRQ, self.rtc.irq_level()),
            (SCI_IRQ, self.pm.irq_level()),
        ] {
            lines |= u16::from(level) << irq;
        }
        let changed = lines ^ std::mem::replace(&mut self.lines, lines);
        for irq in 0..16_u8 {
            if changed & (1 << irq) != 0 {
                let level = lines & (1 << irq) != 0;
                self.pic.set_line(irq, level);
                self.ioapic.set_line(if irq == 0 { 2 } else { irq }, level);
            }
        }
        while let Some(message) = self.ioapic.next_message() {
            if let Some(message) = for_local_apics(&message) {
                vm.send(&message);
            }
        }
        vm.set_intr(self.pic.intr());
    }

    /// What the guest asked of the whole machine, once.
    pub(crate) fn take_request(&mut self) -> Option<Request> {
        if self.pm.take_power_off() {
            return Some(Request::PowerOff);
        }
        if let Some(status) = self.debug_exit.take_exit() {
            return Some(Request::Exit(status));
        }
        let reset = self.reset.take_reset() | self.i8042.take_reset();
        reset.then_some(Request::Reset)
    }
}

/// An I/O APIC's message as local APICs understand it; reserved delivery modes send nothing.
fn for_local_apics(message: &InterruptMessage) -> Option<Message> {
    Some(Message {
        destination: Message::widen(message.destination),
        destination_mode: if message.logical { DestinationMode::Logical } else { DestinationMode::Physical },
        shorthand: Shorthand::None,
        delivery_mode: DeliveryMode::from_bits(u32::from(message.delivery_mode))?,
        vector: message.vector,
        trigger: if message.level { TriggerMode::Level } else { TriggerMode::Edge },
    })
}

/// Guest memory as fw_cfg's DMA sees it.
struct Dma<'a>(&'a GuestMemory);

impl DmaMemory for Dma<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.0.read_bytes(address, bytes).is_ok()
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.0.write_bytes(address, bytes).is_ok()
    }
}
