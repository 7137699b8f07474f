//! Every chip against random accesses, and the states they leave through a container.

use devices::*;
use saved_state::{Container, Restore, SavedState, Writer};

/// xorshift64: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Accesses `chip` at `ports` and a little beyond, saving and restoring it now and then.
fn attack<D>(
    mut chip: D,
    ports: &[u16],
    read: fn(&mut D, u16, u8, u64) -> u32,
    write: fn(&mut D, u16, u8, u32, u64),
    next_event: fn(&D) -> Option<u64>,
) where
    D: Restore,
{
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut now = 0;
    for _ in 0..100_000 {
        let random = numbers.next();
        let port = ports[(random >> 8) as usize % ports.len()];
        let size = [1, 2, 4][(random >> 4) as usize % 3];
        now += random >> 16 & 0xff_ffff;
        if random & 1 == 0 {
            let value = read(&mut chip, port, size, now);
            assert_eq!(value & !open_bus(size), 0, "port {port:#x} size {size}: {value:#x}");
        } else {
            write(&mut chip, port, size, (random >> 32) as u32, now);
        }
        assert!(next_event(&chip).is_none_or(|event| event > now), "port {port:#x}");
        if random >> 58 == 0 {
            let mut writer = Writer::new();
            writer.put(0, &chip.save()).unwrap();
            let bytes = writer.into_vec().unwrap();
            let container = Container::parse(&bytes).unwrap();
            chip.restore(container.section::<D::State>(0).unwrap()).unwrap();
            let mut again = Writer::new();
            again.put(0, &chip.save()).unwrap();
            assert_eq!(again.into_vec().unwrap(), bytes, "{}", D::State::KIND);
        }
    }
}

/// `attack` on a chip with the common shape; those without events give `None`.
macro_rules! attack {
    ($chip:expr, $type:ty, $ports:expr) => {
        attack::<$type>($chip, &$ports.collect::<Vec<u16>>(), <$type>::read, <$type>::write, |_| None)
    };
    ($chip:expr, $type:ty, $ports:expr, events) => {
        attack::<$type>(
            $chip,
            &$ports.collect::<Vec<u16>>(),
            <$type>::read,
            <$type>::write,
            <$type>::next_event,
        )
    };
}

#[test]
fn no_access_breaks_a_chip() {
    attack!(Pic::new(), Pic, Pic::MASTER_PORTS.chain(Pic::SLAVE_PORTS).chain(Pic::ELCR_PORTS));
    attack!(Pit::new(), Pit, Pit::PORTS.chain([Pit::SPEAKER_PORT]), events);
    attack!(Rtc::new(0), Rtc, Rtc::PORTS, events);
    attack!(AcpiPm::new(), AcpiPm, AcpiPm::PORTS, events);
    attack!(I8042::new(), I8042, [I8042::DATA_PORT, I8042::COMMAND_PORT, I8042::PORT_92].into_iter());
    attack!(PciConfig::new(), PciConfig, PciConfig::PORTS);
    attack!(ResetControl::new(), ResetControl, [ResetControl::PORT].into_iter());
    attack!(FwCfg::new(1 << 30, 4), FwCfg, FwCfg::PORTS);
    attack!(DebugExit::new(), DebugExit, DebugExit::PORTS);
    attack!(PostPort::new(), PostPort, [PostPort::PORT].into_iter());
}

#[test]
fn no_access_breaks_a_uart() {
    // Input comes in too, and output is taken, as the machine does.
    fn write(uart: &mut Uart, port: u16, size: u8, value: u32, now: u64) {
        uart.write(port, size, value, now);
        uart.receive(&value.to_le_bytes(), now);
        let mut sink = Vec::new();
        uart.take_output(&mut sink);
        assert!(sink.len() <= 4);
    }
    let ports: Vec<u16> = Uart::COM1_PORTS.collect();
    attack(Uart::new(0x3f8), &ports, Uart::read, write, Uart::next_event);
}

#[test]
fn no_access_breaks_an_ioapic() {
    fn read(apic: &mut IoApic, port: u16, size: u8, now: u64) -> u32 {
        apic.read(port.into(), size, now)
    }
    fn write(apic: &mut IoApic, port: u16, size: u8, value: u32, now: u64) {
        apic.write(port.into(), size, value, now);
        apic.set_line(value as u8, now & 1 != 0);
        apic.end_of_interrupt((value >> 8) as u8);
        // Each input has at most one message at a time.
        assert!((0..=24).any(|_| apic.next_message().is_none()));
    }
    attack(IoApic::new(), &[0x00, 0x10, 0x10, 0x12, 0x40, 0x44], read, write, |_| None);
}

#[test]
fn kinds_are_unique() {
    let kinds = [
        PicStateV1::KIND,
        IoApicStateV1::KIND,
        PitStateV1::KIND,
        RtcStateV1::KIND,
        I8042StateV1::KIND,
        UartStateV1::KIND,
        AcpiPmStateV1::KIND,
        PciConfigStateV1::KIND,
        ResetControlStateV1::KIND,
        FwCfgStateV1::KIND,
        DebugExitStateV1::KIND,
        PostPortStateV1::KIND,
    ];
    let unique: std::collections::BTreeSet<_> = kinds.into_iter().collect();
    assert_eq!(unique.len(), kinds.len());
}
