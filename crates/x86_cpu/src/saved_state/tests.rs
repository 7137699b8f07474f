//! Every field of the state survives, and no state that cannot be is taken.

use super::*;
use crate::tlb::TlbStateV1;

/// A state in which every field has a value of its own that a processor could hold.
fn unique() -> CpuStateV1 {
    let mut next = 0x1000_u64;
    let mut number = || {
        next += 0x11;
        next
    };
    let segment = |number: &mut dyn FnMut() -> u64| SegmentStateV1 {
        selector: number() as u16,
        base: number(),
        limit: number() as u32,
        access: 0x93,
    };
    CpuStateV1 {
        general: std::array::from_fn(|_| number()),
        rip: number(),
        rflags: 0x2 | 0x1 | 0x40 | 0x400,
        retired: number(),
        cpl: 2,
        segments: (0..6).map(|_| segment(&mut number)).collect(),
        ldtr: segment(&mut number),
        tr: segment(&mut number),
        gdtr: (number(), 0x17),
        idtr: (number(), 0x27),
        cr0: 0x8000_0031,
        cr2: number(),
        cr3: 0x5000,
        cr4: 0x620,
        efer: 0xd01,
        xcr0: 3,
        dr: std::array::from_fn(|_| number()),
        dr6: 0xffff_0ff1,
        dr7: 0x402,
        pdptes: [0x1001, 0x2001, 0x3001, 0x4001],
        msrs: MsrsStateV1 {
            sysenter_cs: number(),
            sysenter_esp: number(),
            sysenter_eip: number(),
            star: number(),
            lstar: number(),
            cstar: number(),
            fmask: number(),
            kernel_gs_base: number(),
            tsc_aux: number(),
            tsc_offset: number(),
            tsc_adjust: number(),
            pat: number(),
            mtrr_def_type: number(),
            mtrr_fixed: (0..Msrs::new().mtrr_fixed.len()).map(|_| number()).collect(),
            mtrr_base: (0..Msrs::new().mtrr_base.len()).map(|_| number()).collect(),
            mtrr_mask: (0..Msrs::new().mtrr_mask.len()).map(|_| number()).collect(),
            misc_enable: number(),
            spec_ctrl: number(),
            xss: number(),
            mcg_status: number(),
            mc_ctl: (0..Msrs::new().mc_ctl.len()).map(|_| number()).collect(),
        },
        xmm: (0..16).map(|_| (number(), number())).collect(),
        mxcsr: 0x1fa0,
        x87: X87StateV1 {
            registers: std::array::from_fn(|index| [index as u8 + 1; 10]),
            tags: 0x5a,
            control: 0x27f,
            status: 0x3800,
            last_ip: number(),
            last_cs: number() as u16,
            last_dp: number(),
            last_ds: number() as u16,
            last_opcode: 0x123,
        },
        tlb: TlbStateV1 {
            entries: vec![crate::tlb::TlbEntryStateV1 {
                linear_page: 0x1_2000,
                frame: 0x3_4000,
                asid: 0,
                global: false,
                writable: true,
                user: true,
                no_execute: false,
                dirty: true,
                size: 21,
            }],
            fetch_valid: true,
            fetch_linear_page: 0x7000,
            fetch_frame: 0x9000,
            fetch_asid: Some(0),
            fetch_user: false,
        },
        shadow: 1,
        nmi_blocked: true,
        nmi_pending: true,
        interrupt_line: true,
        debug_pending: 0x4000,
        random: number(),
        answers: vec![
            AnswerStateV1 { kind: 0, address: 0x60, size: 1, written: 0, value: Some(number()) },
            AnswerStateV1 { kind: 1, address: number(), size: 4, written: 0, value: Some(number()) },
            AnswerStateV1 { kind: 2, address: 0x1b, size: 0, written: 0, value: None },
            AnswerStateV1 { kind: 3, address: 0x6e0, size: 0, written: number(), value: Some(0) },
            AnswerStateV1 { kind: 4, address: 0, size: 0, written: 0, value: Some(7) },
        ],
        apic_id: 3,
        processors: 4,
    }
}

#[test]
fn every_field_survives() {
    let state = unique();
    let mut cpu = Cpu::new(3, 4);
    cpu.restore(state.clone()).expect("a state a processor can hold");
    assert_eq!(cpu.save(), state);
}

#[test]
fn impossible_states_are_refused_and_change_nothing() {
    type Damage = fn(&mut CpuStateV1);
    let cases: &[(&str, Damage)] = &[
        ("cr0", |state| state.cr0 = 0x8000_0000),
        ("cr0", |state| state.efer = 0x100),
        ("cr0", |state| state.cr3 = 1 << 60),
        ("cpl", |state| state.cpl = 4),
        ("shadow", |state| state.shadow = 3),
        ("mxcsr", |state| state.mxcsr = 1 << 16),
        ("xcr0", |state| state.xcr0 = 2),
        ("xcr0", |state| state.xcr0 = 7),
        ("pdptes", |state| state.pdptes[2] = 1 << 50),
        ("segments", |state| state.segments.truncate(5)),
        ("xmm", |state| state.xmm.push((0, 0))),
        ("msrs.mtrr_fixed", |state| state.msrs.mtrr_fixed.clear()),
        ("answers", |state| state.answers[0].kind = 9),
        ("answers", |state| state.answers[0].address = 1 << 16),
        ("answers", |state| state.answers = vec![state.answers[0].clone(); Replay::MOST + 1]),
        ("apic_id", |state| state.apic_id = 1),
    ];
    for (field, damage) in cases {
        let mut cpu = Cpu::new(3, 4);
        let before = cpu.save();
        let mut state = unique();
        damage(&mut state);
        let error = cpu.restore(state).expect_err(field).to_string();
        assert!(error.contains(field), "{field}: {error}");
        assert_eq!(cpu.save(), before, "{field}: a refused state changed something");
    }
}
