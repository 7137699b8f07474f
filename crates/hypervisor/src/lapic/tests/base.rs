//! IA32_APIC_BASE, resets.

use super::*;
use x86_defs::msr;

const DISABLED: u64 = 0xfee0_0000;
const XAPIC: u64 = 0xfee0_0800;
const X2APIC: u64 = 0xfee0_0c00;

fn in_mode(base: u64) -> Lapic {
    let mut lapic = enabled(3);
    for step in [XAPIC, base] {
        let _ = lapic.set_apic_base(step).expect("from xAPIC mode to any");
    }
    lapic
}

#[test]
fn mode_transitions_follow_figure_12_27() {
    for (from, to, legal, why) in [
        (XAPIC, X2APIC, true, "xAPIC to x2APIC"),
        (XAPIC, DISABLED, true, "xAPIC to disabled"),
        (XAPIC, XAPIC, true, "xAPIC stays"),
        (X2APIC, DISABLED, true, "x2APIC to disabled"),
        (X2APIC, X2APIC, true, "x2APIC stays"),
        (X2APIC, XAPIC, false, "x2APIC to xAPIC is not allowed"),
        (DISABLED, XAPIC, true, "disabled to xAPIC"),
        (DISABLED, DISABLED, true, "disabled stays"),
        (DISABLED, X2APIC, false, "disabled to x2APIC is not allowed"),
        (DISABLED, 0xfee0_0400, false, "EXTD without EN"),
        (XAPIC, 0xfee0_0400, false, "EXTD without EN, from xAPIC"),
        (X2APIC, 0xfee0_0400, false, "EXTD without EN, from x2APIC"),
        (XAPIC, XAPIC | 1 << 9, false, "bit 9 is reserved"),
        (XAPIC, XAPIC | 1, false, "bit 0 is reserved"),
        (XAPIC, XAPIC | 1 << 7, false, "bit 7 is reserved"),
        (XAPIC, XAPIC | 1 << 46, false, "bits from MAXPHYADDR up are reserved"),
        (XAPIC, XAPIC | 1 << 45, true, "the highest address bit"),
        (XAPIC, XAPIC | 1 << 8, true, "BSP can be written"),
    ] {
        let mut lapic = in_mode(from);
        let result = lapic.msr_write(msr::APIC_BASE, to, at(0));
        assert_eq!(result.is_ok(), legal, "{why}");
        let now = if legal { to } else { from };
        assert_eq!(lapic.msr_read(msr::APIC_BASE, at(0)), Ok(now), "{why}: what reads back");
        if let Ok(effects) = result {
            assert_eq!(effects.base_changed, from != to, "{why}: whether it is told");
        }
    }
}

#[test]
fn the_page_is_there_in_xapic_mode_alone() {
    assert_eq!(in_mode(XAPIC).mmio_base(), Some(DEFAULT_BASE), "xAPIC mode");
    assert_eq!(in_mode(X2APIC).mmio_base(), None, "x2APIC mode");
    assert_eq!(in_mode(DISABLED).mmio_base(), None, "disabled");
    assert_eq!(in_mode(0xfedc_b800).mmio_base(), Some(0xfedc_b000), "moved");
    assert!(!in_mode(DISABLED).hardware_enabled(), "CPUID bit follows EN");
}

#[test]
fn state_after_power_up_is_that_of_12_4_7_1() {
    let mut lapic = Lapic::new(5, false);
    for (offset, value, name) in [
        (ID, 5 << 24, "ID"),
        (VERSION, 0x0005_0014, "version"),
        (TPR, 0, "TPR"),
        (PPR, 0, "PPR"),
        (LDR, 0, "LDR"),
        (DFR, 0xffff_ffff, "DFR"),
        (SVR, 0xff, "SVR"),
        (ESR, 0, "ESR"),
        (ICR_LOW, 0, "ICR low"),
        (ICR_HIGH, 0, "ICR high"),
        (LVT_TIMER, 0x1_0000, "LVT timer"),
        (LVT_THERMAL, 0x1_0000, "LVT thermal"),
        (LVT_PERFORMANCE, 0x1_0000, "LVT performance"),
        (LVT_LINT0, 0x1_0000, "LVT LINT0"),
        (LVT_LINT1, 0x1_0000, "LVT LINT1"),
        (LVT_ERROR, 0x1_0000, "LVT error"),
        (INITIAL_COUNT, 0, "initial count"),
        (CURRENT_COUNT, 0, "current count"),
        (DIVIDE, 0, "divide configuration"),
    ] {
        assert_eq!(lapic.read(offset, at(0)), value, "{name}");
    }
    assert_eq!(lapic.apic_base(), 0xfee0_0800, "an application processor");
    assert_eq!(Lapic::new(0, true).apic_base(), 0xfee0_0900, "the bootstrap processor");
    assert!(!lapic.software_enabled(), "bit 8 of SVR is 0");
}

/// An APIC with something in every register.
fn used(mut lapic: Lapic) -> Lapic {
    let x2apic = lapic.mode() == ApicMode::X2Apic;
    assert!(lapic.accept(0x55, TriggerMode::Level), "enabled");
    assert_eq!(lapic.acknowledge(), 0x55, "taken");
    assert!(lapic.accept(0x33, TriggerMode::Level), "enabled");
    lapic.set_cr8(9);
    if !x2apic {
        let _ = lapic.write(LDR, 0x4200_0000, at(0));
        let _ = lapic.write(DFR, 0, at(0));
    }
    let _ = lapic.write(LVT_TIMER, 0x0002_0040, at(0));
    let _ = lapic.write(INITIAL_COUNT, 1000, at(0));
    let _ = lapic.write(DIVIDE, 0xb, at(0));
    let _ = lapic.write(LVT_LINT0, 0x700, at(0));
    lapic.log_error(ESR_ILLEGAL_REGISTER);
    let _ = lapic.command(0x000c_0041, 0);
    lapic
}

#[test]
fn init_keeps_mode_id_and_base() {
    for (mut lapic, name) in [(used(enabled(5)), "xAPIC"), (used(enabled_x2apic(5)), "x2APIC")] {
        let (base, id) = (lapic.apic_base(), lapic.read(ID, at(0)));
        lapic.init();
        assert_eq!(lapic.apic_base(), base, "{name}: IA32_APIC_BASE");
        assert_eq!(lapic.read(ID, at(0)), id, "{name}: ID");
        let mut fresh = Lapic::new(5, false);
        let _ = fresh.set_apic_base(base).expect("legal");
        assert_eq!(lapic, fresh, "{name}: everything else is as after power-up");
    }
}

#[test]
fn power_up_goes_back_to_xapic_mode() {
    let mut lapic = used(enabled_x2apic(5));
    lapic.power_up();
    assert_eq!(lapic, Lapic::new(5, false), "as new");
}

#[test]
fn disabling_resets_the_registers() {
    let mut lapic = used(enabled(5));
    let effects = lapic.set_apic_base(DISABLED).expect("legal");
    assert!(effects.timer_changed, "the timer is gone with it");
    assert_eq!(lapic.next_event(at(0)), None, "no timer");
    assert!(!lapic.is_interrupt_deliverable(), "no requests");
    let _ = lapic.set_apic_base(XAPIC).expect("legal");
    assert_eq!(lapic, Lapic::new(5, false), "as after power-up");
}

#[test]
fn entering_x2apic_mode_keeps_the_registers_and_derives_the_ids() {
    let mut lapic = used(enabled(0x25));
    let (before_irr, before_isr) = (lapic.registers.bank(IRR), lapic.registers.bank(ISR));
    let _ = lapic.set_apic_base(X2APIC).expect("legal");
    assert_eq!(lapic.registers.bank(IRR), before_irr, "IRR");
    assert_eq!(lapic.registers.bank(ISR), before_isr, "ISR");
    assert_eq!(lapic.msr_read(0x802, at(0)), Ok(0x25), "ID is 32 bits");
    assert_eq!(lapic.msr_read(0x80d, at(0)), Ok(0x0002_0020), "LDR: cluster 2, bit 5");
    assert_eq!(lapic.msr_read(0x808, at(0)), Ok(0x90), "TPR");
}
