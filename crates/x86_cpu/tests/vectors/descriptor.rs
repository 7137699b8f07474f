//! Descriptors and gates from their words (SDM 3A 3.4.5, 3.5, 5.8.3, 6.11, 6.14.1).

use x86_cpu::SegmentStateV1;
use x86_defs::Segment;

use crate::values::number;

/// The first 8 bytes, and the next 8 of what is twice as long in IA-32e mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) low: u64,
    pub(crate) high: Option<u64>,
}

/// What a gate leads to unless its line says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultTarget {
    pub(crate) selector: u16,
    pub(crate) offset: u64,
}

/// Rights of code and data by kind, D/B and L among them; accessed.
const SEGMENTS: [(&str, u64); 5] =
    [("code16", 0x9b), ("code32", 0x409b), ("code64", 0x209b), ("data16", 0x93), ("data32", 0x4093)];
/// Rights of system segments by kind; present.
const SYSTEM: [(&str, u64); 5] =
    [("tss16", 0x81), ("ldt", 0x82), ("tss16busy", 0x83), ("tss32", 0x89), ("tss32busy", 0x8b)];
/// Rights of gates by kind; present.
const GATES: [(&str, u64); 9] = [
    ("callgate16", 0x84),
    ("taskgate", 0x85),
    ("intgate16", 0x86),
    ("trapgate16", 0x87),
    ("callgate", 0x8c),
    ("intgate", 0x8e),
    ("trapgate", 0x8f),
    ("gatetype0", 0x80),
    ("gatetype8", 0x88),
];

fn find(table: &[(&str, u64)], kind: &str) -> Option<u64> {
    table.iter().find(|(name, _)| *name == kind).map(|&(_, rights)| rights)
}

/// A descriptor as `words` tell it.
///
/// # Errors
/// They do not.
pub(crate) fn parse<'a>(
    mut words: impl Iterator<Item = &'a str>,
    long: bool,
    default: DefaultTarget,
) -> Result<Descriptor, String> {
    let kind = words.next().ok_or("a kind of descriptor is missing")?;
    if kind == "raw" {
        let low = number(words.next().ok_or("a value is missing")?)? as u64;
        let high = words.next().map(number).transpose()?.map(|value| value as u64);
        return Ok(Descriptor { low, high });
    }
    if let Some(rights) = find(&SEGMENTS, kind) {
        return segment(words, rights, None);
    }
    if let Some(rights) = find(&SYSTEM, kind) {
        return segment(words, rights, long.then_some(0));
    }
    let rights = find(&GATES, kind).ok_or_else(|| format!("there is no descriptor {kind:?}"))?;
    gate(words, rights, long, default)
}

fn segment<'a>(
    words: impl Iterator<Item = &'a str>,
    mut rights: u64,
    mut high: Option<u64>,
) -> Result<Descriptor, String> {
    let (mut base, mut limit) = (0_u64, 0xffff_ffff_u64);
    for word in words {
        match word.split_once('=') {
            Some(("dpl", level)) => rights |= (number(level)? as u64 & 3) << 5,
            Some(("base", value)) => base = number(value)? as u64,
            Some(("limit", value)) => limit = number(value)? as u64,
            Some(("upper", value)) => high = Some(number(value)? as u64),
            _ => match word {
                "absent" => rights &= !0x80,
                "fresh" => rights &= !1,
                "down" | "conforming" => rights |= 4,
                "readonly" | "execonly" => rights &= !2,
                "default" => rights |= 0x4000,
                "avl" => rights |= 0x1000,
                _ => return Err(format!("{word:?} says nothing about a segment")),
            },
        }
    }
    if limit > 0xf_ffff {
        if limit & 0xfff != 0xfff {
            return Err(format!("no descriptor has the limit {limit:#x}"));
        }
        limit >>= 12;
        rights |= 0x8000;
    }
    let low = (limit & 0xffff)
        | (base & 0xff_ffff) << 16
        | rights << 40
        | (limit & 0xf_0000) << 32
        | (base >> 24 & 0xff) << 56;
    if base >> 32 != 0 && high == Some(0) {
        high = Some(base >> 32);
    }
    Ok(Descriptor { low, high })
}

fn gate<'a>(
    words: impl Iterator<Item = &'a str>,
    mut rights: u64,
    long: bool,
    default: DefaultTarget,
) -> Result<Descriptor, String> {
    let (mut selector, mut offset, mut extra, mut upper) =
        (u64::from(default.selector), default.offset, 0, 0);
    for word in words {
        match word.split_once('=') {
            Some(("dpl", level)) => rights |= (number(level)? as u64 & 3) << 5,
            Some(("params", count)) => extra = number(count)? as u64 & 0x1f,
            Some(("ist", index)) => extra = number(index)? as u64 & 7,
            Some(("upper", value)) => upper = number(value)? as u64,
            _ if word == "absent" => rights &= !0x80,
            _ => {
                let (to, at) =
                    word.split_once(':').ok_or_else(|| format!("{word:?} says nothing about a gate"))?;
                selector = number(to)? as u64;
                offset = number(at)? as u64;
            }
        }
    }
    let low = (offset & 0xffff) | selector << 16 | extra << 32 | rights << 40 | (offset >> 16 & 0xffff) << 48;
    Ok(Descriptor { low, high: long.then_some(offset >> 32 | upper) })
}

/// The segment register that loading `selector` with the descriptor `raw` makes.
pub(crate) fn loaded(selector: u16, raw: u64, upper: u64) -> SegmentStateV1 {
    let mut segment = Segment::from_descriptor(selector, raw);
    segment.base |= upper << 32;
    if segment.access & 0x10 != 0 {
        segment.access |= 1;
    }
    segment.into()
}
