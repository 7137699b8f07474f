//! Saving and restoring.

use ::saved_state::{Container, Restore, Save, Writer};

use super::*;

/// Every field has a value of its own, where bits that exist allow it.
fn unique() -> LapicStateV1 {
    let words = |seed: u32| std::array::from_fn(|word| (seed + word as u32) << 16);
    LapicStateV1 {
        id: 9,
        apic_base: 0x12_3456_7900,
        tpr: 0x21,
        ldr: 0x2200_0000,
        dfr: 0x3fff_ffff,
        svr: 0x3ab,
        isr: words(0x4100),
        tmr: words(0x5100),
        irr: words(0x6100),
        esr: 0x20,
        pending_errors: 0xc0,
        icr_low: 0x0008_4872,
        icr_high: 0x7300_0000,
        lvt: [0x2_0081, 0x1_0182, 0x0_0283, 0xc084, 0x2485, 0x86],
        initial_count: 0x9100_0000,
        divide: 0x9,
        countdown_start_ns: 0xa2_0000_0001,
        countdown_count: 0x9000_0003,
        tsc_deadline: 0,
        pins: [false, true],
    }
}

#[test]
fn every_field_comes_back() {
    let x2apic = LapicStateV1 {
        apic_base: 0xfee0_0c00,
        ldr: 1 << 9,
        dfr: !0,
        icr_high: 0x1234_5678,
        lvt: [0x4_0081, 0x1_0182, 0x0_0283, 0xc084, 0x2485, 0x86],
        countdown_start_ns: 0,
        countdown_count: 0,
        tsc_deadline: 0xb1_0000_0002,
        pins: [true, false],
        ..unique()
    };
    for (state, name) in [(unique(), "xAPIC with a countdown"), (x2apic, "x2APIC with a deadline")] {
        let mut writer = Writer::new();
        writer.put(0, &state).expect("encodes");
        let bytes = writer.into_vec().expect("is a container");
        let read = Container::parse(&bytes).map(|container| container.section(0)).expect("is whole");
        let mut lapic = Lapic::new(9, false);
        lapic.restore(read.expect("decodes")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(lapic.save(), state, "{name}");
        let mut again = Lapic::new(9, true);
        again.restore(lapic.save()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again, lapic, "{name}: derived fields too");
    }
}

#[test]
fn a_restored_apic_goes_on_as_the_saved_one() {
    let mut lapic = enabled(0);
    let _ = lapic.write(LVT_TIMER, 0x2_0040, at(0));
    let _ = lapic.write(INITIAL_COUNT, 1000, at(0));
    assert!(lapic.accept(0x30, TriggerMode::Level), "enabled");
    lapic.advance(at(100_000));
    let mut restored = Lapic::new(0, true);
    restored.restore(lapic.save()).expect("a state it saved itself");
    for lapic in [&mut lapic, &mut restored] {
        lapic.advance(at(200_001));
        assert_eq!(lapic.acknowledge(), 0x40, "the timer first");
        assert_eq!(lapic.next_event(at(200_001)), Some(240_000), "then its next period");
    }
    assert_eq!(lapic, restored, "in everything");
}

#[test]
fn states_that_cannot_be_are_refused() {
    type Change = fn(&mut LapicStateV1);
    let cases: [(&str, Change); 22] = [
        ("id", |s| s.id = 8),
        ("apic_base", |s| s.apic_base = 0xfee0_0801),
        ("apic_base", |s| s.apic_base = 0xfee0_0400),
        ("tpr", |s| s.tpr = 0x100),
        ("ldr", |s| s.ldr = 1),
        ("dfr", |s| s.dfr = 0),
        ("svr", |s| s.svr = 0x1100),
        ("isr", |s| s.isr[0] = 1),
        ("tmr", |s| s.tmr[0] = 1 << 15),
        ("irr", |s| s.irr[0] = 1 << 8),
        ("esr", |s| s.esr = 1),
        ("pending_errors", |s| s.pending_errors = 0x100),
        ("icr_low", |s| s.icr_low = 1 << 12),
        ("icr_high", |s| s.icr_high = 1),
        ("lvt", |s| s.lvt[0] = 1 << 14),
        ("lvt", |s| s.lvt[4] = 1 << 14),
        ("lvt", |s| s.svr = 0xff),
        ("divide", |s| s.divide = 4),
        ("countdown_count", |s| s.initial_count = 0),
        ("countdown_count", |s| s.lvt[0] = 0x4_0081),
        ("countdown_start_ns", |s| s.countdown_count = 0),
        ("tsc_deadline", |s| s.tsc_deadline = 1),
    ];
    for (field, change) in cases {
        let mut state = unique();
        change(&mut state);
        let mut lapic = enabled(9);
        let before = lapic.clone();
        let error = lapic.restore(state).expect_err(field).to_string();
        assert!(error.contains(&format!("field {field} ")), "{field}: {error}");
        assert_eq!(lapic, before, "{field}: unchanged on failure");
    }
}
