//! Requests, priorities, acknowledgement, EOI; pins and errors.

use super::*;

#[test]
fn ppr_follows_12_8_3_1() {
    for (tpr, in_service, ppr, why) in [
        (0x00, None, 0x00, "nothing"),
        (0x2f, None, 0x2f, "TPR alone, with its low half"),
        (0x00, Some(0x35), 0x30, "in service alone: the class"),
        (0x20, Some(0x35), 0x30, "in service is higher"),
        (0x45, Some(0x35), 0x45, "TPR is higher"),
        (0x3f, Some(0x35), 0x3f, "same class: this model shows TPR's low half"),
        (0x2f, Some(0x35), 0x30, "TPR below: its low half does not show"),
        (0xff, Some(0xf0), 0xff, "the top class"),
    ] {
        let mut lapic = enabled(0);
        if let Some(vector) = in_service {
            assert!(lapic.accept(vector, TriggerMode::Edge), "{why}: accepted");
            assert_eq!(lapic.acknowledge(), vector, "{why}: acknowledged");
        }
        let _ = lapic.write(TPR, tpr, at(0));
        assert_eq!(lapic.read(PPR, at(0)), ppr, "{why}");
    }
}

#[test]
fn a_request_is_delivered_if_its_class_is_above_ppr() {
    for (vector, tpr, deliverable) in [
        (0x10, 0x00, true),
        (0x1f, 0x10, false),
        (0x1f, 0x1f, false),
        (0x20, 0x1f, true),
        (0xff, 0xef, true),
        (0xff, 0xf0, false),
    ] {
        let mut lapic = enabled(0);
        let _ = lapic.write(TPR, tpr, at(0));
        assert!(lapic.accept(vector, TriggerMode::Edge), "{vector:#x} is legal");
        assert_eq!(lapic.is_interrupt_deliverable(), deliverable, "flag: {vector:#x} at TPR {tpr:#x}");
        let expected = deliverable.then_some(vector);
        assert_eq!(lapic.highest_deliverable(), expected, "{vector:#x} at TPR {tpr:#x}");
        lapic.set_cr8(0);
        assert!(lapic.is_interrupt_deliverable(), "{vector:#x} once TPR is 0");
    }
}

#[test]
fn interrupts_nest_by_class_and_end_in_order() {
    let mut lapic = enabled(0);
    for vector in [0x31, 0x41, 0x42] {
        assert!(lapic.accept(vector, TriggerMode::Edge), "{vector:#x}");
    }
    assert_eq!(lapic.acknowledge(), 0x42, "the highest first");
    assert!(!lapic.is_interrupt_deliverable(), "0x41 is in the class in service");
    assert_eq!(lapic.acknowledge(), 0xff, "spurious: nothing deliverable");
    assert_eq!(lapic.registers.highest(ISR), Some(0x42), "a spurious vector is not in service");
    assert!(lapic.accept(0x55, TriggerMode::Edge), "a higher one arrives");
    assert_eq!(lapic.acknowledge(), 0x55, "and nests");
    assert_eq!(lapic.write(EOI, 0, at(0)), Effects::NONE, "EOI of 0x55");
    assert!(!lapic.is_interrupt_deliverable(), "0x42 is still in service");
    assert_eq!(lapic.write(EOI, 0xdead, at(0)), Effects::NONE, "EOI of 0x42; the value does not matter");
    assert_eq!(lapic.acknowledge(), 0x41, "then the rest of the class");
    let _ = lapic.write(EOI, 0, at(0));
    assert_eq!(lapic.acknowledge(), 0x31, "then the class below");
    let _ = lapic.write(EOI, 0, at(0));
    assert_eq!(lapic.write(EOI, 0, at(0)), Effects::NONE, "EOI with nothing in service");
}

#[test]
fn a_vector_is_requested_once_more_while_in_service() {
    let mut lapic = enabled(0);
    for round in 0..2 {
        assert!(lapic.accept(0x41, TriggerMode::Edge), "round {round}");
        assert!(lapic.accept(0x41, TriggerMode::Edge), "again, merged: round {round}");
        assert_eq!(requested(&lapic), [0x41], "one bit: round {round}");
        if round == 0 {
            assert_eq!(lapic.acknowledge(), 0x41, "into service");
        }
    }
    assert_eq!(lapic.registers.highest(ISR), Some(0x41), "in service and requested");
}

#[test]
fn eoi_of_a_level_interrupt_is_broadcast() {
    let mut lapic = enabled(0);
    assert!(lapic.accept(0x41, TriggerMode::Level), "level");
    assert!(lapic.registers.bit(TMR, 0x41), "TMR is set");
    assert_eq!(lapic.acknowledge(), 0x41, "taken");
    let effects = lapic.write(EOI, 0, at(0));
    assert_eq!(effects.eoi_broadcast, Some(0x41), "the I/O APICs are told");
    assert!(lapic.accept(0x41, TriggerMode::Edge), "edge");
    assert!(!lapic.registers.bit(TMR, 0x41), "TMR is cleared");
    assert_eq!(lapic.acknowledge(), 0x41, "taken");
    assert_eq!(lapic.write(EOI, 0, at(0)).eoi_broadcast, None, "nothing to tell");
}

#[test]
fn cr8_is_the_upper_half_of_tpr() {
    let mut lapic = enabled(0);
    let _ = lapic.write(TPR, 0x5b, at(0));
    assert_eq!(lapic.cr8(), 5, "bits 7:4");
    lapic.set_cr8(0xc);
    assert_eq!(lapic.read(TPR, at(0)), 0xc0, "bits 3:0 become 0");
}

#[test]
fn software_disabled_holds_requests_and_takes_no_new_ones() {
    let mut lapic = enabled(0);
    assert!(lapic.accept(0x41, TriggerMode::Edge), "enabled");
    let _ = lapic.write(LVT_ERROR, 0x50, at(0));
    let _ = lapic.write(SVR, 0x0ff, at(0));
    assert!(!lapic.accept(0x61, TriggerMode::Edge), "disabled");
    assert_eq!(requested(&lapic), [0x41], "what was pending is held");
    for offset in LVT {
        assert_eq!(lapic.read(offset, at(0)) & LVT_MASKED, LVT_MASKED, "mask of LVT {offset:#x}");
        let _ = lapic.write(offset, 0x50, at(0));
        assert_eq!(lapic.read(offset, at(0)), LVT_MASKED | 0x50, "the mask of {offset:#x} cannot be cleared");
    }
    let _ = lapic.write(SVR, 0x1ff, at(0));
    assert_eq!(lapic.read(LVT_ERROR, at(0)), LVT_MASKED | 0x50, "enabling unmasks nothing");
}

#[test]
fn pins_do_what_their_lvt_entry_says() {
    for (pin, entry, expected, irr, why) in [
        (LocalPin::Lint1, 0x400, LocalEvent::Nmi, None, "NMI"),
        (LocalPin::Lint1, 0x1_0400, LocalEvent::None, None, "NMI, masked"),
        (LocalPin::Lint0, 0x200, LocalEvent::Smi, None, "SMI"),
        (LocalPin::Lint0, 0x500, LocalEvent::Init, None, "INIT"),
        (LocalPin::Lint0, 0x700, LocalEvent::None, None, "ExtINT is asked for"),
        (LocalPin::Lint0, 0x300, LocalEvent::None, None, "reserved delivery mode"),
        (LocalPin::Lint0, 0x041, LocalEvent::None, Some(0x41), "fixed, edge"),
        (LocalPin::Lint1, 0x8041, LocalEvent::None, Some(0x41), "LINT1 is edge, whatever it says"),
    ] {
        let mut lapic = enabled(0);
        let offset = if pin == LocalPin::Lint0 { LVT_LINT0 } else { LVT_LINT1 };
        let _ = lapic.write(offset, entry, at(0));
        assert_eq!(lapic.set_pin(pin, true), expected, "{why}");
        assert_eq!(requested(&lapic), irr.into_iter().collect::<Vec<_>>(), "{why}: IRR");
        assert_eq!(lapic.set_pin(pin, true), LocalEvent::None, "{why}: no second edge");
        assert_eq!(lapic.set_pin(pin, false), LocalEvent::None, "{why}: deasserted");
        assert_eq!(lapic.set_pin(pin, true), expected, "{why}: the next edge");
    }
}

#[test]
fn lint0_as_extint_is_virtual_wire_mode() {
    for (entry, extint, why) in
        [(0x700, true, "ExtINT"), (0x1_0700, false, "masked"), (0x041, false, "fixed"), (0x400, false, "NMI")]
    {
        let mut lapic = enabled(0);
        let _ = lapic.write(LVT_LINT0, entry, at(0));
        assert_eq!(lapic.lint0_is_extint(), extint, "{why}");
        assert!(!lapic.extint_pending(), "{why}: not asserted");
        let _ = lapic.set_pin(LocalPin::Lint0, true);
        assert_eq!(lapic.extint_pending(), extint, "{why}: asserted");
    }
    let mut lapic = enabled(0);
    let _ = lapic.set_apic_base(0xfee0_0000).expect("legal");
    assert!(lapic.lint0_is_extint(), "without an APIC the pin is INTR");
    assert_eq!(lapic.set_pin(LocalPin::Lint1, true), LocalEvent::Nmi, "and the other NMI");
}

#[test]
fn lint0_level_asks_again_after_eoi() {
    let mut lapic = enabled(0);
    let _ = lapic.write(LVT_LINT0, 0x8041, at(0));
    let _ = lapic.set_pin(LocalPin::Lint0, true);
    assert_eq!(lapic.read(LVT_LINT0, at(0)), 0xc041, "remote IRR is set");
    let _ = lapic.write(LVT_LINT0, 0x8041, at(0));
    assert_eq!(lapic.read(LVT_LINT0, at(0)), 0xc041, "remote IRR is read-only");
    assert_eq!(lapic.acknowledge(), 0x41, "taken");
    let _ = lapic.write(EOI, 0, at(0));
    assert_eq!(requested(&lapic), [0x41], "still asserted: requested again");
    assert_eq!(lapic.acknowledge(), 0x41, "taken");
    let _ = lapic.set_pin(LocalPin::Lint0, false);
    let _ = lapic.write(EOI, 0, at(0));
    assert_eq!(requested(&lapic), [0u8; 0], "deasserted: not requested");
    assert_eq!(lapic.read(LVT_LINT0, at(0)), 0x8041, "remote IRR is clear");
}

#[test]
fn esr_is_latched_by_a_write() {
    let mut lapic = enabled(0);
    let _ = lapic.read(0x40, at(0));
    assert_eq!(lapic.read(ESR, at(0)), 0, "not yet latched");
    let _ = lapic.write(ESR, 0x1234, at(0));
    assert_eq!(lapic.read(ESR, at(0)), ESR_ILLEGAL_REGISTER, "latched, whatever was written");
    assert_eq!(lapic.read(ESR, at(0)), ESR_ILLEGAL_REGISTER, "reading does not clear");
    let _ = lapic.write(ESR, 0, at(0));
    assert_eq!(lapic.read(ESR, at(0)), 0, "nothing since");
}

#[test]
fn illegal_vectors_are_errors_of_sender_and_receiver() {
    let mut lapic = enabled(0);
    assert!(!lapic.accept(0x0f, TriggerMode::Edge), "not accepted");
    assert_eq!(errors(&mut lapic), ESR_RECEIVE_ILLEGAL_VECTOR, "received");
    let effects = lapic.write(ICR_LOW, 0x000c_000f, at(0));
    assert!(effects.ipi.is_some(), "the message goes out");
    assert_eq!(errors(&mut lapic), ESR_SEND_ILLEGAL_VECTOR, "sent to others");
    let _ = lapic.write(ICR_LOW, 0x0004_000f, at(0));
    let both = ESR_SEND_ILLEGAL_VECTOR | ESR_RECEIVE_ILLEGAL_VECTOR;
    assert_eq!(errors(&mut lapic), both, "sent to itself");
    let _ = lapic.write(ICR_LOW, 0x000c_0402, at(0));
    assert_eq!(errors(&mut lapic), 0, "an NMI has no vector");
    let mut lapic = enabled_x2apic(0);
    let _ = lapic.msr_write(0x83f, 3, at(0)).expect("SELF IPI takes any vector");
    assert_eq!(lapic.pending_errors, both, "SELF IPI");
    assert_eq!(requested(&lapic), [0u8; 0], "no bit below 16 is ever set");
}

#[test]
fn the_error_interrupt_is_rearmed_by_writing_esr() {
    let mut lapic = enabled(0);
    let _ = lapic.write(LVT_ERROR, 0x77, at(0));
    let _ = lapic.read(0x40, at(0));
    assert_eq!(lapic.acknowledge(), 0x77, "the first error");
    let _ = lapic.write(EOI, 0, at(0));
    lapic.accept(1, TriggerMode::Edge);
    assert_eq!(requested(&lapic), [0u8; 0], "the second before a write to ESR");
    let both = ESR_ILLEGAL_REGISTER | ESR_RECEIVE_ILLEGAL_VECTOR;
    assert_eq!(errors(&mut lapic), both, "both are recorded");
    let _ = lapic.write(0x40, 0, at(0));
    assert_eq!(requested(&lapic), [0x77], "rearmed");
}

#[test]
fn an_illegal_error_vector_ends() {
    let mut lapic = enabled(0);
    let _ = lapic.write(LVT_ERROR, 0x05, at(0));
    let _ = lapic.read(0x40, at(0));
    let both = ESR_ILLEGAL_REGISTER | ESR_RECEIVE_ILLEGAL_VECTOR;
    assert_eq!(errors(&mut lapic), both, "the error of the error interrupt is recorded");
}
