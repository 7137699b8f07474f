//! The state of a processor as a table of names, which is what cases set and compare.

use x86_cpu::{CpuStateV1, SegmentStateV1};

pub(crate) const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
/// The lower halves, as other names of the whole registers.
const GENERAL32: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
pub(crate) const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// Flags by name.
pub(crate) const FLAGS: [(&str, u64); 17] = [
    ("CF", 1),
    ("PF", 1 << 2),
    ("AF", 1 << 4),
    ("ZF", 1 << 6),
    ("SF", 1 << 7),
    ("TF", 1 << 8),
    ("IF", 1 << 9),
    ("DF", 1 << 10),
    ("OF", 1 << 11),
    ("IOPL", 3 << 12),
    ("NT", 1 << 14),
    ("RF", 1 << 16),
    ("VM", 1 << 17),
    ("AC", 1 << 18),
    ("VIF", 1 << 19),
    ("VIP", 1 << 20),
    ("ID", 1 << 21),
];
/// Bits of CR0 by name.
pub(crate) const CR0: [(&str, u64); 11] = [
    ("PE", 1),
    ("MP", 2),
    ("EM", 4),
    ("TS", 8),
    ("ET", 16),
    ("NE", 32),
    ("WP", 1 << 16),
    ("AM", 1 << 18),
    ("NW", 1 << 29),
    ("CD", 1 << 30),
    ("PG", 1 << 31),
];
/// Bits of CR4 by name.
pub(crate) const CR4: [(&str, u64); 17] = [
    ("VME", 1),
    ("PVI", 2),
    ("TSD", 4),
    ("DE", 8),
    ("PSE", 16),
    ("PAE", 32),
    ("MCE", 64),
    ("PGE", 128),
    ("PCE", 256),
    ("OSFXSR", 512),
    ("OSXMMEXCPT", 1024),
    ("UMIP", 2048),
    ("FSGSBASE", 1 << 16),
    ("PCIDE", 1 << 17),
    ("OSXSAVE", 1 << 18),
    ("SMEP", 1 << 20),
    ("SMAP", 1 << 21),
];
/// Bits of EFER by name.
pub(crate) const EFER: [(&str, u64); 4] = [("SCE", 1), ("LME", 1 << 8), ("LMA", 1 << 10), ("NXE", 1 << 11)];

/// The named bits of a register, for `cr4=+SMEP-PGE`.
pub(crate) fn named_bits(register: &str) -> Option<&'static [(&'static str, u64)]> {
    match register {
        "flags" => Some(&FLAGS),
        "cr0" => Some(&CR0),
        "cr4" => Some(&CR4),
        "efer" => Some(&EFER),
        _ => None,
    }
}

fn segment_fields(name: &str, segment: &SegmentStateV1, values: &mut Vec<(String, u128)>) {
    let SegmentStateV1 { selector, base, limit, access } = segment;
    values.push((name.to_owned(), (*selector).into()));
    // The rest of a null segment register means nothing, except a base that 64-bit mode still adds.
    let unusable = access & (1 << 16) != 0;
    values.push((format!("{name}.null"), unusable.into()));
    if !unusable {
        values.push((format!("{name}.limit"), (*limit).into()));
        values.push((format!("{name}.access"), (*access).into()));
    }
    if !unusable || matches!(name, "fs" | "gs") {
        values.push((format!("{name}.base"), (*base).into()));
    }
}

/// Every value of `state` that cases can name, in the order in which differences are told.
pub(crate) fn all(state: &CpuStateV1) -> Vec<(String, u128)> {
    let mut values: Vec<(String, u128)> = Vec::new();
    let mut add = |name: &str, value: u128| values.push((name.to_owned(), value));
    add("rip", state.rip.into());
    for (name, &value) in GENERAL.iter().zip(&state.general) {
        add(name, value.into());
    }
    add("flags", state.rflags.into());
    add("cpl", state.cpl.into());
    add("cr0", state.cr0.into());
    add("cr2", state.cr2.into());
    add("cr3", state.cr3.into());
    add("cr4", state.cr4.into());
    add("efer", state.efer.into());
    add("xcr0", state.xcr0.into());
    for (index, &value) in state.dr.iter().enumerate() {
        add(&format!("dr{index}"), value.into());
    }
    add("dr6", state.dr6.into());
    add("dr7", state.dr7.into());
    for (index, &value) in state.pdptes.iter().enumerate() {
        add(&format!("pdpte{index}"), value.into());
    }
    add("gdtr.base", state.gdtr.0.into());
    add("gdtr.limit", state.gdtr.1.into());
    add("idtr.base", state.idtr.0.into());
    add("idtr.limit", state.idtr.1.into());
    let msrs = &state.msrs;
    for (name, value) in [
        ("star", msrs.star),
        ("lstar", msrs.lstar),
        ("cstar", msrs.cstar),
        ("fmask", msrs.fmask),
        ("kernel_gs_base", msrs.kernel_gs_base),
        ("sysenter_cs", msrs.sysenter_cs),
        ("sysenter_esp", msrs.sysenter_esp),
        ("sysenter_eip", msrs.sysenter_eip),
        ("tsc_aux", msrs.tsc_aux),
        ("tsc_offset", msrs.tsc_offset),
        ("tsc_adjust", msrs.tsc_adjust),
        ("pat", msrs.pat),
        ("misc_enable", msrs.misc_enable),
        ("spec_ctrl", msrs.spec_ctrl),
        ("xss", msrs.xss),
        ("mtrr_def_type", msrs.mtrr_def_type),
    ] {
        add(name, value.into());
    }
    for (index, &(low, high)) in state.xmm.iter().enumerate() {
        add(&format!("xmm{index}"), u128::from(low) | u128::from(high) << 64);
    }
    add("mxcsr", state.mxcsr.into());
    add("fcw", state.x87.control.into());
    add("fsw", state.x87.status.into());
    add("ftw", state.x87.tags.into());
    for (index, register) in state.x87.registers.iter().enumerate() {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(register);
        add(&format!("fpr{index}"), u128::from_le_bytes(bytes));
    }
    add("fip", state.x87.last_ip.into());
    add("fcs", state.x87.last_cs.into());
    add("fdp", state.x87.last_dp.into());
    add("fds", state.x87.last_ds.into());
    add("fop", state.x87.last_opcode.into());
    add("nmi_blocked", state.nmi_blocked.into());
    for (name, segment) in SEGMENTS.iter().zip(&state.segments) {
        segment_fields(name, segment, &mut values);
    }
    segment_fields("ldtr", &state.ldtr, &mut values);
    segment_fields("tr", &state.tr, &mut values);
    values
}

/// The number that ends `name` after `prefix`.
fn numbered(name: &str, prefix: &str, most: usize) -> Option<usize> {
    name.strip_prefix(prefix)?.parse().ok().filter(|&index| index < most)
}

/// The segment register called `name`.
pub(crate) fn segment_mut<'a>(state: &'a mut CpuStateV1, name: &str) -> Option<&'a mut SegmentStateV1> {
    match name {
        "ldtr" => Some(&mut state.ldtr),
        "tr" => Some(&mut state.tr),
        _ => {
            let index = SEGMENTS.iter().position(|&segment| segment == name)?;
            state.segments.get_mut(index)
        }
    }
}

/// Sets the value called `name`.
///
/// # Errors
/// There is none of that name, or it does not hold such a value.
pub(crate) fn set(state: &mut CpuStateV1, name: &str, value: u128) -> Result<(), String> {
    let wide = || format!("{name} cannot hold {value:#x}");
    let as64 = || u64::try_from(value).map_err(|_| wide());
    let as32 = || u32::try_from(value).map_err(|_| wide());
    let as16 = || u16::try_from(value).map_err(|_| wide());
    if let Some(index) = GENERAL.iter().position(|&register| register == name) {
        state.general[index] = as64()?;
    } else if let Some(index) = GENERAL32.iter().position(|&register| register == name) {
        state.general[index] = as32()?.into();
    } else if let Some((segment, field)) = name.split_once('.')
        && let Some(segment) = segment_mut(state, segment)
    {
        match field {
            "base" => segment.base = as64()?,
            "limit" => segment.limit = as32()?,
            "access" => segment.access = as32()?,
            "selector" => segment.selector = as16()?,
            _ => return Err(format!("a segment register has no {field}")),
        }
    } else if let Some(index) = numbered(name, "dr", 4) {
        state.dr[index] = as64()?;
    } else if let Some(index) = numbered(name, "pdpte", 4) {
        state.pdptes[index] = as64()?;
    } else if let Some(index) = numbered(name, "xmm", 16) {
        state.xmm[index] = (value as u64, (value >> 64) as u64);
    } else if let Some(index) = numbered(name, "fpr", 8) {
        state.x87.registers[index].copy_from_slice(&value.to_le_bytes()[..10]);
    } else {
        match name {
            "rip" | "eip" | "ip" => state.rip = as64()?,
            "flags" => state.rflags = as64()?,
            "cpl" => state.cpl = u8::try_from(value).map_err(|_| wide())?,
            "cr0" => state.cr0 = as64()?,
            "cr2" => state.cr2 = as64()?,
            "cr3" => state.cr3 = as64()?,
            "cr4" => state.cr4 = as64()?,
            "efer" => state.efer = as64()?,
            "xcr0" => state.xcr0 = as64()?,
            "dr6" => state.dr6 = as64()?,
            "dr7" => state.dr7 = as64()?,
            "gdtr.base" => state.gdtr.0 = as64()?,
            "gdtr.limit" => state.gdtr.1 = as16()?,
            "idtr.base" => state.idtr.0 = as64()?,
            "idtr.limit" => state.idtr.1 = as16()?,
            "star" => state.msrs.star = as64()?,
            "lstar" => state.msrs.lstar = as64()?,
            "cstar" => state.msrs.cstar = as64()?,
            "fmask" => state.msrs.fmask = as64()?,
            "kernel_gs_base" => state.msrs.kernel_gs_base = as64()?,
            "sysenter_cs" => state.msrs.sysenter_cs = as64()?,
            "sysenter_esp" => state.msrs.sysenter_esp = as64()?,
            "sysenter_eip" => state.msrs.sysenter_eip = as64()?,
            "tsc_aux" => state.msrs.tsc_aux = as64()?,
            "tsc_offset" => state.msrs.tsc_offset = as64()?,
            "tsc_adjust" => state.msrs.tsc_adjust = as64()?,
            "pat" => state.msrs.pat = as64()?,
            "misc_enable" => state.msrs.misc_enable = as64()?,
            "spec_ctrl" => state.msrs.spec_ctrl = as64()?,
            "xss" => state.msrs.xss = as64()?,
            "mtrr_def_type" => state.msrs.mtrr_def_type = as64()?,
            "mxcsr" => state.mxcsr = as32()?,
            "fcw" => state.x87.control = as16()?,
            "fsw" => state.x87.status = as16()?,
            "ftw" => state.x87.tags = u8::try_from(value).map_err(|_| wide())?,
            "fip" => state.x87.last_ip = as64()?,
            "fcs" => state.x87.last_cs = as16()?,
            "fdp" => state.x87.last_dp = as64()?,
            "fds" => state.x87.last_ds = as16()?,
            "fop" => state.x87.last_opcode = as16()?,
            "nmi" => state.nmi_pending = value != 0,
            "nmi_blocked" => state.nmi_blocked = value != 0,
            _ => return Err(format!("there is no {name}")),
        }
    }
    Ok(())
}

/// A number as cases write it.
///
/// # Errors
/// It is none.
pub(crate) fn number(text: &str) -> Result<u128, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(&hex.replace('_', ""), 16),
        None => text.replace('_', "").parse(),
    };
    parsed.map_err(|_| format!("{text:?} is not a number"))
}

/// `text` as the new value of the register `name` that holds `old`: a number, or names of bits as in `+WP-PG`.
///
/// # Errors
/// It is neither.
pub(crate) fn value(name: &str, text: &str, old: u128) -> Result<u128, String> {
    let Some(bits) = named_bits(name).filter(|_| text.starts_with(['+', '-'])) else { return number(text) };
    let mut value = old;
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |at| at + 1);
        let wanted = &rest[1..end];
        // IOPL is two bits: +IOPL2 sets them to 2.
        let (wanted, field) = match wanted.strip_prefix("IOPL") {
            Some(level) if !level.is_empty() => ("IOPL", Some(number(level)? << 12)),
            _ => (wanted, None),
        };
        let &(_, mask) = bits
            .iter()
            .find(|(bit, _)| *bit == wanted)
            .ok_or_else(|| format!("{name} has no bit {wanted:?}"))?;
        let mask = u128::from(mask);
        value &= !mask;
        if sign == '+' {
            value |= field.unwrap_or(mask);
        }
        rest = &rest[end..];
    }
    Ok(value)
}
