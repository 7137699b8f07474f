//! Tables of cases from the manual, each with a message of its own.

mod base;
mod interrupts;
mod messages;
mod registers_access;
mod saved;
mod timer;

use super::*;

/// A moment with the guest's TSC equal to virtual time.
fn at(ns: u64) -> Now {
    Now { ns, tsc: ns }
}

/// An APIC that is software-enabled with spurious vector 0xff, in xAPIC mode.
fn enabled(id: u32) -> Lapic {
    let mut lapic = Lapic::new(id, id == 0);
    let _ = lapic.write(SVR, 0x1ff, at(0));
    lapic
}

/// The same in x2APIC mode.
fn enabled_x2apic(id: u32) -> Lapic {
    let mut lapic = enabled(id);
    let base = lapic.apic_base() | 1 << 10;
    let _ = lapic.set_apic_base(base).expect("xAPIC to x2APIC is legal");
    lapic
}

/// The vectors pending in IRR.
fn requested(lapic: &Lapic) -> Vec<u8> {
    (0..=255).filter(|&vector| lapic.registers.bit(IRR, vector)).collect()
}

/// ESR after the write that latches it.
fn errors(lapic: &mut Lapic) -> u32 {
    let _ = lapic.write(ESR, 0, at(0));
    lapic.read(ESR, at(0))
}
