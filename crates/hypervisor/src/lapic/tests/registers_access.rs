//! What each register takes and gives, by page and by MSR.

use super::*;

#[test]
fn xapic_writes_keep_the_bits_that_exist() {
    for (offset, kept, name) in [
        (ID, 0x0100_0000, "ID: read-only in this model"),
        (VERSION, VERSION_VALUE, "version: read-only"),
        (TPR, 0xff, "TPR"),
        (APR, 0, "APR: not there"),
        (RRD, 0, "RRD: not there"),
        (LDR, 0xff00_0000, "LDR"),
        (DFR, 0xffff_ffff, "DFR"),
        (SVR, 0x3ff, "SVR: bit 12 is not supported"),
        (ICR_LOW, 0x000c_cfff, "ICR low: delivery status reads idle"),
        (ICR_HIGH, 0xff00_0000, "ICR high"),
        (LVT_TIMER, 0x0007_00ff, "LVT timer"),
        (LVT_THERMAL, 0x0001_07ff, "LVT thermal"),
        (LVT_PERFORMANCE, 0x0001_07ff, "LVT performance"),
        (LVT_LINT0, 0x0001_a7ff, "LVT LINT0"),
        (LVT_LINT1, 0x0001_a7ff, "LVT LINT1"),
        (LVT_ERROR, 0x0001_00ff, "LVT error"),
        (INITIAL_COUNT, 0xffff_ffff, "initial count"),
        (DIVIDE, 0xb, "divide configuration"),
        (EOI, 0, "EOI: write-only"),
    ] {
        let mut lapic = enabled(1);
        let _ = lapic.mmio_write(offset, 4, u64::MAX, at(0));
        assert_eq!(lapic.mmio_read(offset, 4, at(0)), u64::from(kept), "{name}");
        assert_eq!(lapic.pending_errors & ESR_ILLEGAL_REGISTER, 0, "{name} is not reserved");
    }
    let mut lapic = enabled(1);
    let _ = lapic.write(DFR, 0x0123_4567, at(0));
    assert_eq!(lapic.read(DFR, at(0)), 0x0fff_ffff, "DFR: the rest reads as ones");
}

#[test]
fn reserved_offsets_of_table_12_1_are_errors() {
    let reserved: Vec<u16> = [0x000, 0x010, 0x040, 0x050, 0x060, 0x070]
        .into_iter()
        .chain((0x290..=0x2f0).step_by(16))
        .chain((0x3a0..=0x3d0).step_by(16))
        .chain((0x3f0..=0xff0).step_by(16))
        .collect();
    for offset in (0..=0xff0).step_by(16) {
        let expected = reserved.contains(&offset);
        let mut lapic = enabled(0);
        let _ = lapic.mmio_read(offset, 4, at(0));
        assert_eq!(lapic.pending_errors == ESR_ILLEGAL_REGISTER, expected, "read of {offset:#x}");
        let mut lapic = enabled(0);
        let _ = lapic.mmio_write(offset, 4, 0x20, at(0));
        assert_eq!(lapic.pending_errors == ESR_ILLEGAL_REGISTER, expected, "write of {offset:#x}");
    }
}

#[test]
fn accesses_that_are_not_aligned_words() {
    let mut lapic = enabled(0);
    for (offset, size, value, why) in [
        (0x30, 1, 0x14, "a byte of the version"),
        (0x32, 2, 0x05, "its upper half"),
        (0x33, 2, 0, "across the four bytes"),
        (0x34, 4, 0, "the second four bytes of sixteen"),
        (0x30, 8, 0, "eight bytes"),
        (0x30, 0, 0, "no bytes"),
    ] {
        assert_eq!(lapic.mmio_read(offset, size, at(0)), value, "read: {why}");
    }
    for (offset, size, why) in
        [(0x80, 1, "a byte"), (0x81, 4, "unaligned"), (0x84, 4, "the next four"), (0x80, 8, "eight")]
    {
        let _ = lapic.mmio_write(offset, size, 0x3030_3030, at(0));
        assert_eq!(lapic.read(TPR, at(0)), 0, "write: {why}");
    }
    assert_eq!(lapic.pending_errors, 0, "none of them is an illegal register");
}

/// What an MSR of the range allows: reads, and the bits that a write may set.
fn x2apic_rights(index: u32) -> (bool, Option<u64>) {
    match index {
        0x802 | 0x803 | 0x80a | 0x80d | 0x810..=0x827 | 0x839 => (true, None),
        0x808 => (true, Some(0xff)),
        0x80b => (false, Some(0)),
        0x80f => (true, Some(0x3ff)),
        0x828 => (true, Some(0)),
        // Bit 12, delivery status in xAPIC mode, is ignored.
        0x830 => (true, Some(0xffff_ffff_000c_dfff)),
        0x832 => (true, Some(0x0007_10ff)),
        0x833 | 0x834 => (true, Some(0x0001_17ff)),
        0x835 | 0x836 => (true, Some(0x0001_f7ff)),
        0x837 => (true, Some(0x0001_10ff)),
        0x838 => (true, Some(0xffff_ffff)),
        0x83e => (true, Some(0xb)),
        0x83f => (false, Some(0xff)),
        _ => (false, None),
    }
}

#[test]
fn x2apic_msrs_are_those_of_table_12_6() {
    for index in 0x800..=0x8ff {
        let (readable, writable) = x2apic_rights(index);
        let mut lapic = enabled_x2apic(0);
        assert!(Lapic::owns_msr(index), "{index:#x}");
        assert_eq!(lapic.msr_read(index, at(0)).is_ok(), readable, "RDMSR {index:#x}");
        let zero = lapic.msr_write(index, 0, at(0));
        assert_eq!(zero.is_ok(), writable.is_some(), "WRMSR {index:#x} of 0");
        for bit in 0..64 {
            let mut lapic = enabled_x2apic(0);
            let legal = writable.is_some_and(|bits| bits >> bit & 1 != 0);
            let written = lapic.msr_write(index, 1 << bit, at(0));
            assert_eq!(written.is_ok(), legal, "WRMSR {index:#x} of bit {bit}");
            assert_eq!(
                lapic.pending_errors & ESR_ILLEGAL_REGISTER,
                0,
                "MSR {index:#x}: no error is recorded in x2APIC mode"
            );
        }
    }
}

#[test]
fn the_range_is_gp_outside_x2apic_mode() {
    let mut xapic = enabled(0);
    let mut disabled = enabled(0);
    let _ = disabled.set_apic_base(0xfee0_0000).expect("legal");
    for index in [0x800, 0x802, 0x808, 0x830, 0x8ff] {
        for (lapic, name) in [(&mut xapic, "xAPIC"), (&mut disabled, "disabled")] {
            assert_eq!(lapic.msr_read(index, at(0)), Err(GeneralProtection), "RDMSR {index:#x}, {name}");
            assert_eq!(lapic.msr_write(index, 0, at(0)), Err(GeneralProtection), "WRMSR {index:#x}, {name}");
        }
    }
    assert!(!Lapic::owns_msr(0x10), "not one of the APIC's");
    assert_eq!(xapic.msr_read(0x10, at(0)), Err(GeneralProtection), "nor answered");
}

#[test]
fn x2apic_icr_is_one_register() {
    let mut lapic = enabled_x2apic(0);
    let effects = lapic.msr_write(0x830, 0x1234_5678_0000_00d1, at(0)).expect("legal");
    assert_eq!(lapic.msr_read(0x830, at(0)), Ok(0x1234_5678_0000_00d1), "reads back");
    let message = effects.ipi.expect("an IPI is sent");
    assert_eq!((message.destination, message.vector), (0x1234_5678, 0xd1), "to all 32 bits");
    let _ = lapic.msr_write(0x83f, 0xd2, at(0)).expect("legal");
    assert_eq!(requested(&lapic), [0xd2], "SELF IPI arrives at once");
    assert_eq!(lapic.msr_read(0x830, at(0)), Ok(0x1234_5678_0000_00d1), "and leaves ICR alone");
}
