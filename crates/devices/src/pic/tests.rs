use ::saved_state::{Restore, Save};

use super::saved_state::{ChipV1, NextV1, PicStateV1};
use super::*;

/// Initialised as every PC is: vectors 0x20 and 0x28, nothing masked.
fn pair() -> Pic {
    let mut pic = Pic::new();
    initialise(&mut pic, 0x01, 0x01);
    pic
}

fn initialise(pic: &mut Pic, master_icw4: u32, slave_icw4: u32) {
    for (port, icws) in [(0x20, [0x11, 0x20, 0x04, master_icw4]), (0xa0, [0x11, 0x28, 0x02, slave_icw4])] {
        pic.write(port, 1, icws[0], 0);
        for icw in &icws[1..] {
            pic.write(port + 1, 1, *icw, 0);
        }
    }
}

fn isr(pic: &mut Pic) -> (u32, u32) {
    for port in [0x20, 0xa0] {
        pic.write(port, 1, 0x0b, 0);
    }
    (pic.read(0x20, 1, 0), pic.read(0xa0, 1, 0))
}

#[test]
fn nothing_is_delivered_before_initialisation() {
    let mut pic = Pic::new();
    (0..16).for_each(|irq| pic.set_line(irq, true));
    assert!(!pic.intr());
}

#[test]
fn every_line_has_its_vector() {
    for irq in (0..16).filter(|&irq| irq != 2) {
        let mut pic = pair();
        pic.set_line(irq, true);
        assert!(pic.intr(), "irq {irq}");
        assert_eq!(pic.acknowledge(), 0x20 + irq);
        assert!(!pic.intr());
        let expected = if irq < 8 { (1 << irq, 0) } else { (4, 1 << (irq - 8)) };
        assert_eq!(isr(&mut pic), expected);
    }
}

#[test]
fn initialisation_sequences() {
    // ICW1, the writes to the odd port after it, and whether the one after those is OCW1.
    for (icw1, icws) in [(0x11, 3), (0x10, 2), (0x13, 2), (0x12, 1)] {
        let mut pic = Pic::new();
        pic.write(0x20, 1, icw1, 0);
        for _ in 0..icws {
            assert_eq!(pic.read(0x21, 1, 0), 0, "ICW1 clears the mask");
            pic.write(0x21, 1, 0x21, 0);
        }
        pic.write(0x21, 1, 0x5a, 0);
        assert_eq!(pic.read(0x21, 1, 0), 0x5a, "ICW1 {icw1:#x}");
    }
}

#[test]
fn an_edge_is_needed_after_initialisation() {
    let mut pic = pair();
    pic.set_line(3, true);
    initialise(&mut pic, 1, 1);
    assert!(!pic.intr());
    pic.set_line(3, false);
    pic.set_line(3, true);
    assert!(pic.intr());
}

#[test]
fn an_edge_interrupts_once_and_a_level_until_it_falls() {
    let mut pic = pair();
    pic.write(0x4d0, 2, 0x0820, 0); // inputs 5 and 11 are level-triggered
    for (irq, again) in [(4, false), (5, true), (10, false), (11, true)] {
        pic.set_line(irq, true);
        assert_eq!(pic.acknowledge(), 0x20 + irq);
        pic.write(0xa0, 1, 0x20, 0);
        pic.write(0x20, 1, 0x20, 0);
        assert_eq!(pic.intr(), again, "irq {irq}");
        pic.set_line(irq, false);
        assert!(!pic.intr());
    }
}

#[test]
fn elcr_keeps_the_edges_that_are_fixed() {
    let mut pic = pair();
    pic.write(0x4d0, 2, 0xffff, 0);
    assert_eq!(pic.read(0x4d0, 2, 0), 0xdef8);
}

#[test]
fn a_line_that_falls_before_the_acknowledge_is_spurious() {
    let mut pic = pair();
    pic.set_line(4, true);
    pic.set_line(4, false);
    assert!(!pic.intr());
    assert_eq!(pic.acknowledge(), 0x27);
    assert_eq!(isr(&mut pic), (0, 0));
}

#[test]
fn priorities_nest() {
    let mut pic = pair();
    pic.set_line(4, true);
    assert_eq!(pic.acknowledge(), 0x24);
    pic.set_line(5, true);
    assert!(!pic.intr(), "less important");
    pic.set_line(10, true);
    assert!(pic.intr(), "the cascade is input 2");
    assert_eq!(pic.acknowledge(), 0x2a);
    pic.set_line(9, true);
    assert!(!pic.intr(), "the master holds back its input 2");
    pic.write(0x20, 1, 0x20, 0);
    assert_eq!(pic.acknowledge(), 0x29);
}

#[test]
fn the_special_fully_nested_master_lets_the_slave_nest() {
    let mut pic = pair();
    initialise(&mut pic, 0x11, 0x01);
    pic.set_line(10, true);
    assert_eq!(pic.acknowledge(), 0x2a);
    pic.set_line(11, true);
    assert!(!pic.intr(), "less important inside the slave");
    pic.set_line(9, true);
    assert_eq!(pic.acknowledge(), 0x29);
}

#[test]
fn masks_hold_back_but_do_not_forget() {
    let mut pic = pair();
    pic.write(0x21, 1, 0x10, 0);
    pic.set_line(4, true);
    assert!(!pic.intr());
    pic.write(0x20, 1, 0x0a, 0);
    assert_eq!(pic.read(0x20, 1, 0), 0x10, "IRR shows it");
    pic.write(0x21, 1, 0, 0);
    assert_eq!(pic.acknowledge(), 0x24);
}

#[test]
fn ends_of_interrupt_and_rotation() {
    // In service are inputs 1, 3 and 6. OCW2, what is in service then, and the input of highest priority.
    for (ocw2, in_service, highest) in [
        (0x20, 0x48, 0), // non-specific
        (0x66, 0x0a, 0), // specific, 6
        (0xa0, 0x48, 2), // rotate on non-specific
        (0xe3, 0x42, 4), // rotate on specific, 3
        (0xc4, 0x4a, 5), // set priority: 4 is lowest
        (0x40, 0x4a, 0), // nothing
        (0x80, 0x4a, 0), // rotate with automatic end: has no effect here
    ] {
        let mut pic = pair();
        for irq in [6, 3, 1] {
            pic.set_line(irq, true);
            pic.acknowledge();
            pic.set_line(irq, false);
        }
        pic.write(0x20, 1, ocw2, 0);
        assert_eq!(isr(&mut pic).0, in_service, "OCW2 {ocw2:#x}");
        for irq in [6, 3, 1] {
            pic.write(0x20, 1, 0x60 | irq, 0);
        }
        (0..8).for_each(|irq| pic.set_line(irq, true));
        pic.write(0xa0, 1, 0x0a, 0);
        assert_eq!(pic.master.request(), Some(if highest == 2 { 3 } else { highest }), "OCW2 {ocw2:#x}");
    }
}

#[test]
fn automatic_end_of_interrupt() {
    let mut pic = pair();
    initialise(&mut pic, 0x03, 0x03);
    pic.set_line(9, true);
    assert_eq!(pic.acknowledge(), 0x29);
    assert_eq!(isr(&mut pic), (0, 0));
    pic.write(0x20, 1, 0x80, 0); // rotate
    for irq in [0, 1] {
        pic.set_line(irq, true);
    }
    assert_eq!(pic.acknowledge(), 0x20);
    pic.set_line(0, false);
    pic.set_line(0, true);
    assert_eq!(pic.acknowledge(), 0x21, "0 has become the lowest");
}

#[test]
fn special_mask_mode_lets_lower_levels_through() {
    let mut pic = pair();
    pic.set_line(3, true);
    pic.acknowledge();
    pic.set_line(5, true);
    pic.write(0x21, 1, 0x08, 0);
    assert!(!pic.intr());
    pic.write(0x20, 1, 0x68, 0);
    assert_eq!(pic.acknowledge(), 0x25);
    pic.write(0x20, 1, 0x20, 0);
    assert_eq!(isr(&mut pic).0, 0x08, "the non-specific end passes over the masked level");
    pic.write(0x20, 1, 0x48, 0);
    pic.write(0x20, 1, 0x20, 0);
    assert_eq!(isr(&mut pic).0, 0);
}

#[test]
fn poll_takes_into_service() {
    let mut pic = pair();
    pic.write(0x20, 1, 0x0c, 0);
    assert_eq!(pic.read(0x20, 1, 0), 0);
    pic.set_line(12, true);
    for (port, expected) in [(0x20, 0x82), (0xa0, 0x84)] {
        pic.write(port, 1, 0x0c, 0);
        assert_eq!(pic.read(port + 1, 1, 0), expected, "either port answers the poll");
    }
    assert_eq!(isr(&mut pic), (0x04, 0x10));
    assert!(!pic.intr());
}

#[test]
fn a_word_write_is_two_byte_writes() {
    let mut pic = Pic::new();
    pic.write(0x20, 2, 0x2011, 0);
    pic.write(0x21, 1, 0x04, 0);
    pic.write(0x21, 1, 0x01, 0);
    pic.write(0x21, 2, 0x1234, 0);
    assert_eq!(pic.read(0x21, 2, 0), 0xff34, "nobody is at 0x22");
    pic.set_line(0, true);
    assert_eq!(pic.acknowledge(), 0x20);
}

#[test]
fn every_field_is_saved() {
    let chip = |n: u8, next, on: bool| ChipV1 {
        lines: 0x70 | n,
        irr: 0x30 | n,
        isr: 0x11 + n,
        imr: 0x21 + n,
        elcr: 0x40 + 8 * n,
        next,
        with_icw4: on,
        single: !on,
        icw2: 0x30 + 8 * n,
        icw3: 0x51 + n,
        auto_eoi: on,
        special_fully_nested: !on,
        special_mask: on,
        rotate_on_auto_eoi: !on,
        read_isr: on,
        poll: !on,
        lowest: 3 + n,
    };
    for on in [false, true] {
        let state = PicStateV1 { master: chip(1, NextV1::Icw3, on), slave: chip(2, NextV1::Icw4, !on) };
        let mut pic = Pic::new();
        pic.restore(state.clone()).unwrap();
        assert_eq!(pic.save(), state);
    }
}

#[test]
fn impossible_states_are_refused_and_change_nothing() {
    let good = pair().save();
    let spoil: [fn(&mut ChipV1); 4] =
        [|chip| chip.lowest = 8, |chip| chip.icw2 = 1, |chip| chip.elcr = 1, |chip| chip.irr = 1];
    for spoil in spoil {
        let mut state = good.clone();
        spoil(&mut state.slave);
        let mut pic = Pic::new();
        let before = pic.save();
        pic.restore(state).unwrap_err();
        assert_eq!(pic.save(), before);
    }
}
