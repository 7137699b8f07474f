//! Compares what two engines made of a case.

use std::fmt;

use crate::case::{Case, End, MEMORY_SIZE, Outcome, gpr_name, memory_address, memory_offset};
use crate::differences::{self, Difference};
use crate::undefined::{Undefined, undefined};

/// One thing in which two outcomes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What it is.
    pub what: String,
    /// How the host has it.
    pub expected: String,
    /// How the interpreter has it.
    pub actual: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: host {}, interpreter {}", self.what, self.expected, self.actual)
    }
}

/// RF is set in the image of a fault, and nowhere else in user mode.
const RF: u64 = 1 << 16;

/// Differences that count, between the host's outcome and the interpreter's.
pub fn compare(case: &Case, host: &Outcome, interpreter: &Outcome) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut differ = |what: String, expected: String, actual: String| {
        mismatches.push(Mismatch { what, expected, actual });
    };
    if host.end != interpreter.end {
        if differences::allowed_end(case, host.end, interpreter.end).is_some() {
            return mismatches;
        }
        differ("end".to_owned(), format!("{:x?}", host.end), format!("{:x?}", interpreter.end));
        return mismatches;
    }
    let retired = host.end == End::Retired;
    let undefined = if retired { undefined(case) } else { Undefined::default() };
    let code = case.code();
    let partial_popa = !retired && Difference::PartialPopa.applies(code);
    let (a, b) = (&host.state, &interpreter.state);

    let mut words: Vec<(String, u64, u64, u64)> = Vec::with_capacity(32);
    for (i, (&x, &y)) in a.gpr.iter().zip(&b.gpr).enumerate() {
        let ignored = match undefined.gpr {
            _ if partial_popa => u64::MAX,
            Some((register, bits)) if register == i => bits,
            _ => 0,
        };
        if (x ^ y) & !ignored != 0 {
            words.push((gpr_name(i).to_owned(), x, y, ignored));
        }
    }
    let transcendental = Difference::Transcendental.concerns(code);
    let raised = b.fpu.fsw & !b.fpu.fcw & 0x3f != 0;
    let (ignored_fsw, ignored_rflags) = differences::ignored_condition_codes(code, raised);
    let ignored_codes = undefined.fsw | ignored_fsw | if transcendental { 0x200 } else { 0 };
    let ignores_x87 = differences::ignores_x87(case, retired);
    let named = [
        ("rip", a.rip, b.rip, 0),
        ("rflags", a.rflags, b.rflags, undefined.rflags | ignored_rflags | RF),
        ("fs base", a.fs_base, b.fs_base, 0),
        ("gs base", a.gs_base, b.gs_base, 0),
        ("fcw", u64::from(a.fpu.fcw), u64::from(b.fpu.fcw), 0),
        ("fsw", u64::from(a.fpu.fsw), u64::from(b.fpu.fsw), u64::from(ignored_codes)),
        ("ftw", u64::from(a.fpu.ftw), u64::from(b.fpu.ftw), 0),
        ("mxcsr", u64::from(a.fpu.mxcsr), u64::from(b.fpu.mxcsr), 0),
    ];
    let named = named.into_iter().filter(|(name, ..)| !(ignores_x87 && matches!(*name, "fsw" | "ftw")));
    words.extend(named.map(|(name, x, y, ignored)| (name.to_owned(), x, y, ignored)));
    for (i, name) in ["es", "cs", "ss", "ds", "fs", "gs"].into_iter().enumerate() {
        words.push((name.to_owned(), u64::from(a.selectors[i]), u64::from(b.selectors[i]), 0));
    }
    for (name, x, y, ignored) in words {
        if (x ^ y) & !ignored != 0 {
            differ(name, format!("{:x}", x & !ignored), format!("{:x}", y & !ignored));
        }
    }
    for (i, (&x, &y)) in a.fpu.st.iter().zip(&b.fpu.st).enumerate() {
        let equal = if ignores_x87 {
            true
        } else if transcendental {
            differences::close_extended(x, y)
        } else {
            x == y
        };
        if !equal {
            differ(format!("st({i})"), format!("{x:020x}"), format!("{y:020x}"));
        }
    }
    let approximation = Difference::Approximation.concerns(code);
    for (i, (&x, &y)) in a.fpu.xmm.iter().zip(&b.fpu.xmm).enumerate() {
        let equal = x == y || approximation && differences::close_approximations(x, y);
        if !equal {
            differ(format!("xmm{i}"), format!("{x:032x}"), format!("{y:032x}"));
        }
    }
    let partial = !retired && Difference::PartialStore.concerns(code);
    let segment_push = Difference::SegmentPush.applies(code);
    if host.changed != interpreter.changed && !undefined.memory && !partial && !segment_push {
        memory(case, host, interpreter, &mut differ);
    }
    mismatches
}

fn memory(
    case: &Case,
    host: &Outcome,
    interpreter: &Outcome,
    differ: &mut impl FnMut(String, String, String),
) {
    let base = crate::memory::base_image();
    let after = |outcome: &Outcome| {
        let mut image = base.clone();
        for line in &outcome.changed {
            image[line.offset..line.offset + line.bytes.len()].copy_from_slice(&line.bytes);
        }
        image
    };
    let (expected, actual) = (after(host), after(interpreter));
    let mut ignored = vec![false; MEMORY_SIZE];
    if let Some(address) = differences::operand_address(case) {
        for at in differences::ignored_operand_bytes(case).into_iter().flatten() {
            if let Some(offset) = memory_offset(address.wrapping_add(at)) {
                ignored[offset] = true;
            }
        }
    }
    let different: Vec<usize> =
        (0..MEMORY_SIZE).filter(|&i| expected[i] != actual[i] && !ignored[i]).collect();
    if let (Some(&first), Some(&last)) = (different.first(), different.last()) {
        let end = (last + 1).min(first + 128);
        let hex =
            |image: &[u8]| image[first..end].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        differ(
            format!("memory [{:x}], {} bytes", memory_address(first), different.len()),
            hex(&expected),
            hex(&actual),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{ChangedLine, Encoding, FpuState, LINE, Mode, State};

    fn case(bytes: &[u8]) -> (Case, Outcome) {
        let fpu = FpuState { fcw: 0x37f, fsw: 0, ftw: 0, mxcsr: 0x1f80, st: [0; 8], xmm: [0; 16] };
        let state = State {
            gpr: [0; 16],
            rip: 0,
            rflags: 0x202,
            selectors: Mode::Long.selectors(),
            fs_base: 0,
            gs_base: 0,
            fpu,
        };
        let encoding = Encoding::new(bytes).expect("short");
        let case = Case {
            mode: Mode::Long,
            instruction: Case::decode(bytes, Mode::Long),
            encoding,
            state,
            sequence: None,
            prelude: None,
            patches: Vec::new(),
        };
        (case, Outcome { end: End::Retired, state, changed: Vec::new() })
    }

    #[test]
    fn every_part_of_an_outcome_counts() {
        let (case, outcome) = case(&[0x90]);
        assert!(compare(&case, &outcome, &outcome).is_empty());
        let changes: [fn(&mut Outcome); 11] = [
            |o| o.end = End::Unsupported("test"),
            |o| o.state.gpr[3] = 1,
            |o| o.state.rip = 1,
            |o| o.state.rflags ^= 1,
            |o| o.state.selectors[5] = 1,
            |o| o.state.fs_base = 1,
            |o| o.state.fpu.fsw = 1,
            |o| o.state.fpu.st[7] = 1,
            |o| o.state.fpu.xmm[15] = 1,
            |o| o.state.fpu.mxcsr = 0,
            |o| o.changed.push(ChangedLine { offset: 64, bytes: [0; LINE] }),
        ];
        for change in changes {
            let mut other = outcome.clone();
            change(&mut other);
            assert_eq!(compare(&case, &outcome, &other).len(), 1);
        }
    }

    #[test]
    fn undefined_flags_do_not_count() {
        let (case, outcome) = case(&[0x21, 0xc0]); // and eax, eax: AF
        let mut other = outcome.clone();
        other.state.rflags |= 0x10;
        assert!(compare(&case, &outcome, &other).is_empty());
        other.state.rflags |= 1;
        assert_eq!(compare(&case, &outcome, &other)[0].actual, "203");
    }
}
