use ::saved_state::{Restore, Save};

use super::saved_state::UartStateV1;
use super::*;

const BASE: u16 = 0x3f8;

/// A port whose interrupts reach the line, 115200 baud, eight bits.
fn uart() -> Uart {
    let mut uart = Uart::new(BASE);
    for (offset, value) in [(3, 0x83), (0, 1), (1, 0), (3, 0x03), (4, 0x0b)] {
        uart.write(BASE + offset, 1, value, 0);
    }
    uart
}

fn with_fifos(trigger: u32) -> Uart {
    let mut uart = uart();
    uart.write(BASE + 2, 1, 0x01 | trigger << 6, 0);
    uart
}

fn output(uart: &mut Uart) -> Vec<u8> {
    let mut out = Vec::new();
    uart.take_output(&mut out);
    out
}

#[test]
fn registers_after_reset() {
    let mut uart = Uart::new(BASE);
    for (offset, expected) in [(0, 0), (1, 0), (2, 0x01), (3, 0), (4, 0), (5, 0x60), (6, 0xb0), (7, 0)] {
        assert_eq!(uart.read(BASE + offset, 1, 0), expected, "offset {offset}");
    }
    assert_eq!(uart.read(BASE + 8, 1, 0), 0xff);
    assert!(!uart.irq_level());
}

#[test]
fn what_registers_keep() {
    let mut uart = Uart::new(BASE);
    for (offset, kept) in [(1, 0x0f), (3, 0x7f), (4, 0x1f), (7, 0xff)] {
        uart.write(BASE + offset, 1, 0x7f, 0);
        assert_eq!(uart.read(BASE + offset, 1, 0), 0x7f & kept, "offset {offset}");
    }
    uart.write(BASE + 3, 1, 0x80, 0);
    uart.write(BASE, 2, 0x1234, 0);
    assert_eq!(uart.read(BASE, 2, 0), 0x1234, "the divisor, as a word");
    uart.write(BASE + 3, 1, 0, 0);
    assert_eq!(uart.read(BASE + 1, 1, 0), 0x0f, "IER again");
}

#[test]
fn fifo_detection() {
    // FCR written, the high bits of IIR after it.
    for (fcr, iir) in [(0x00, 0x01), (0x01, 0xc1), (0xc1, 0xc1), (0xe7, 0xc1), (0x06, 0x01)] {
        let mut uart = uart();
        uart.write(BASE + 2, 1, fcr, 0);
        assert_eq!(uart.read(BASE + 2, 1, 0), iir, "FCR {fcr:#x}");
    }
}

#[test]
fn words_have_their_length() {
    for (lcr, expected) in [(0, 0x1f), (1, 0x3f), (2, 0x7f), (3, 0xff)] {
        let mut uart = Uart::new(BASE);
        uart.write(BASE + 3, 1, lcr, 0);
        uart.write(BASE, 1, 0xff, 0);
        assert!(uart.has_output());
        assert_eq!(output(&mut uart), [expected]);
        assert!(!uart.has_output());
    }
}

#[test]
fn the_transmitter_interrupt_falls_and_rises() {
    let mut uart = uart();
    uart.write(BASE + 1, 1, 0x02, 0);
    assert!(uart.irq_level(), "allowed while empty");
    assert_eq!(uart.read(BASE + 2, 1, 0), 0x02);
    assert!(!uart.irq_level(), "reading IIR answers it");
    uart.write(BASE, 1, b'a'.into(), 10);
    assert_eq!(uart.read(BASE + 5, 1, 10), 0x60, "the transmitter is always empty");
    assert!(!uart.irq_level());
    assert_eq!(uart.next_event(), Some(10 + THRE_DELAY));
    uart.advance(10 + THRE_DELAY);
    assert!(uart.irq_level());
    assert_eq!(uart.next_event(), None);
    uart.write(BASE, 1, b'b'.into(), 5000);
    assert!(!uart.irq_level(), "writing a byte answers it too");
    uart.write(BASE + 1, 1, 0, 5000);
    assert_eq!(uart.next_event(), None, "what is not allowed is no event");
    uart.write(BASE + 1, 1, 2, 5000);
    assert!(uart.irq_level(), "and to allow it again raises it");
    assert_eq!(output(&mut uart), b"ab");
}

#[test]
fn linux_finds_a_16550a_without_bugs() {
    let mut uart = uart();
    uart.write(BASE + 1, 1, 2, 0);
    let first = uart.read(BASE + 2, 1, 1000);
    uart.write(BASE + 1, 1, 0, 1000);
    uart.write(BASE + 1, 1, 2, 1000);
    let second = uart.read(BASE + 2, 1, 2000);
    assert_eq!((first & 0x0f, second & 0x0f), (2, 2), "the interrupt comes each time it is allowed");
}

#[test]
fn interrupts_have_an_order() {
    let mut uart = uart();
    uart.write(BASE + 4, 1, 0x1b, 0); // loop-back
    uart.write(BASE + 1, 1, 0x0f, 0);
    uart.write(BASE, 1, 1, 0);
    uart.write(BASE, 1, 2, 0); // overrun
    uart.advance(THRE_DELAY);
    uart.write(BASE + 4, 1, 0x1a, THRE_DELAY); // DTR falls
    let now = THRE_DELAY;
    let mut read = |offset| uart.read(BASE + offset, 1, now);
    assert_eq!(read(2), 0x06);
    assert_eq!(read(5), 0x63);
    assert_eq!(read(2), 0x04);
    assert_eq!(read(0), 2, "the byte that was not read is lost");
    assert_eq!(read(2), 0x02);
    assert_eq!(read(2), 0x00);
    // CTS and DCD stayed; DSR fell.
    assert_eq!(read(6), 0x90 | 0x02);
    assert_eq!(read(2), 0x01);
    assert_eq!(read(5), 0x60);
}

#[test]
fn the_trigger_level_interrupts() {
    for (trigger, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        let mut uart = with_fifos(trigger);
        uart.write(BASE + 1, 1, 1, 0);
        for n in 1..=level {
            assert!(!uart.irq_level());
            assert_eq!(uart.receive(&[n], 0), 1);
        }
        assert_eq!(uart.read(BASE + 2, 1, 0), 0xc4, "level {level}");
        assert_eq!(uart.read(BASE, 1, 0), 1);
        assert!(!uart.irq_level(), "level {level}");
    }
}

#[test]
fn what_is_left_times_out() {
    let mut uart = with_fifos(3);
    uart.write(BASE + 1, 1, 1, 0);
    uart.receive(b"xy", 1000);
    // Four characters of ten bits at 115200 baud.
    let time_out = 4 * (10 * 1_000_000_000 / 115_200);
    assert_eq!(uart.next_event(), Some(1000 + time_out));
    assert_eq!(uart.read(BASE + 2, 1, 1000 + time_out - 1), 0xc1);
    assert_eq!(uart.read(BASE + 2, 1, 1000 + time_out), 0xcc);
    assert!(uart.irq_level());
    assert_eq!(uart.read(BASE, 1, 400_000), b'x'.into());
    assert!(!uart.irq_level());
    assert_eq!(uart.next_event(), Some(400_000 + time_out));
    assert_eq!(uart.read(BASE, 1, 400_000), b'y'.into());
    assert_eq!(uart.next_event(), None);
}

#[test]
fn character_times() {
    // LCR, bits of a character.
    for (lcr, bits) in [(0x00, 7), (0x03, 10), (0x07, 11), (0x0b, 11), (0x0f, 12)] {
        let mut uart = with_fifos(0);
        uart.write(BASE + 3, 1, lcr, 0);
        assert_eq!(uart.character_time(), bits * 16 * 1_000_000_000 / 1_843_200, "LCR {lcr:#x}");
    }
    let mut uart = Uart::new(BASE);
    uart.divisor = 0;
    assert!(uart.character_time() > 0, "a divisor of zero is not a division by zero");
}

#[test]
fn input_waits_for_room() {
    for fifos in [false, true] {
        let mut uart = if fifos { with_fifos(0) } else { uart() };
        let sent: Vec<u8> = (0..100).collect();
        assert_eq!(uart.receive(&sent, 0), 100);
        let mut got = Vec::new();
        while uart.read(BASE + 5, 1, 0) & 1 != 0 {
            got.push(uart.read(BASE, 1, 0) as u8);
        }
        assert_eq!(got, sent, "fifos {fifos}");
    }
    let mut uart = uart();
    assert_eq!(uart.receive(&vec![0; INPUT_LIMIT + 99], 0), INPUT_LIMIT);
    assert_eq!(uart.room(), 1, "one of them is in the receiver");
    assert_eq!(uart.receive(&[1, 2], 0), 1);
}

#[test]
fn clearing_the_fifo() {
    for (fcr, left) in [(0x01, 2), (0x03, 0), (0x05, 2), (0x00, 0)] {
        let mut uart = with_fifos(0);
        uart.receive(b"ab", 0);
        uart.write(BASE + 2, 1, fcr, 0);
        assert_eq!(uart.received.len(), left, "FCR {fcr:#x}");
    }
}

#[test]
fn loop_back() {
    let mut uart = with_fifos(0);
    uart.write(BASE + 4, 1, 0x10, 0);
    uart.receive(b"not now", 0);
    // MCR, the high bits of MSR (datasheet 8.8): DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD.
    for (mcr, msr) in [(0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1f, 0xf0), (0x10, 0x00)] {
        uart.write(BASE + 4, 1, mcr, 0);
        assert_eq!(uart.read(BASE + 6, 1, 0) & 0xf0, msr, "MCR {mcr:#x}");
    }
    for byte in 0..20 {
        uart.write(BASE, 1, byte, 0);
    }
    assert_eq!(uart.read(BASE + 5, 1, 0), 0x63, "overrun after 16");
    assert_eq!(uart.read(BASE + 5, 1, 0), 0x61);
    let got: Vec<u32> = (0..16).map(|_| uart.read(BASE, 1, 0)).collect();
    assert_eq!(got, (0..16).collect::<Vec<_>>());
    assert!(output(&mut uart).is_empty());
    uart.write(BASE + 1, 1, 1, 0);
    uart.write(BASE + 4, 1, 0x18, 0);
    uart.write(BASE, 1, 7, 0);
    assert!(!uart.irq_level(), "loop-back turns OUT2 off");
    assert_eq!(uart.read(BASE + 2, 1, 0), 0xc4, "but the interrupt is pending");
    uart.write(BASE + 2, 1, 0x03, 0);
    uart.write(BASE + 4, 1, 0x08, 0);
    assert_eq!(uart.read(BASE, 1, 0), b'n'.into(), "then the terminal is heard");
}

#[test]
fn modem_changes() {
    // Changes of MCR in loop-back and the low bits of MSR after them.
    for (before, after, changes) in [
        (0x10, 0x11, 0x02),
        (0x10, 0x12, 0x01),
        (0x10, 0x14, 0x00), // the ring begins
        (0x14, 0x10, 0x04), // the ring ends
        (0x10, 0x18, 0x08),
        (0x1f, 0x1f, 0x00),
        (0x1f, 0x10, 0x0f),
    ] {
        let mut uart = uart();
        uart.write(BASE + 4, 1, before, 0);
        uart.read(BASE + 6, 1, 0);
        uart.write(BASE + 4, 1, after, 0);
        assert_eq!(uart.read(BASE + 6, 1, 0) & 0x0f, changes, "{before:#x} to {after:#x}");
        assert_eq!(uart.read(BASE + 6, 1, 0) & 0x0f, 0, "reading clears them");
    }
}

#[test]
fn out2_gates_the_line() {
    let mut uart = uart();
    uart.write(BASE + 1, 1, 2, 0);
    for (mcr, level) in [(0x0b, true), (0x03, false), (0x08, true), (0x18, false)] {
        uart.write(BASE + 4, 1, mcr, 0);
        assert_eq!(uart.irq_level(), level, "MCR {mcr:#x}");
    }
}

fn unique(fifos: bool) -> UartStateV1 {
    UartStateV1 {
        ier: 0x05,
        lcr: 0x93,
        mcr: 0x1a,
        scratch: 0x66,
        divisor: 0x1234,
        fifos,
        trigger: if fifos { 8 } else { 1 },
        received: if fifos { vec![1, 2, 3] } else { vec![4] },
        overrun: fifos,
        modem_changes: 0x0a,
        thre_pending: !fifos,
        thre_at: Some(1 << 40),
        timed_out: fifos,
        time_out_at: Some(1 << 41),
        input: vec![9, 8, 7],
    }
}

#[test]
fn every_field_is_saved() {
    for state in [unique(true), unique(false)] {
        let mut uart = Uart::new(BASE);
        uart.restore(state.clone()).unwrap();
        assert_eq!(uart.save(), state);
    }
}

#[test]
fn impossible_states_are_refused() {
    let spoil: [fn(&mut UartStateV1); 6] = [
        |state| state.ier = 0x10,
        |state| state.mcr = 0x20,
        |state| state.modem_changes = 0x10,
        |state| state.trigger = 2,
        |state| state.received = vec![0; 17],
        |state| state.input = vec![0; INPUT_LIMIT + 1],
    ];
    for spoil in spoil {
        let mut state = unique(true);
        spoil(&mut state);
        let mut uart = uart();
        let before = uart.save();
        uart.restore(state).unwrap_err();
        assert_eq!(uart.save(), before);
    }
}
