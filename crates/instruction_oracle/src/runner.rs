//! Runs many cases of many instructions on two engines and collects what differs.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use iced_x86::Code;

use crate::case::{Case, End, Engine, Mode, Outcome};
use crate::compare::{Mismatch, compare};
use crate::differences::{self, Difference};
use crate::generate::{Failure, Generator};
use crate::random::Random;
use crate::scope;

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One instruction.
    Instruction(Code),
    /// A sequence of integer instructions.
    Sequence,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instruction(code) => write!(f, "{code:?}"),
            Self::Sequence => f.write_str("sequence"),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything random.
    pub seed: u64,
    /// What the cases are about, each with its mode and the number of its cases.
    pub subjects: Vec<(Mode, Subject, u64)>,
    /// Instructions left out because the host's processor lacks a feature.
    pub host_lacks: BTreeMap<Code, &'static str>,
}

impl Plan {
    /// At least `cases` cases, spread evenly over all instructions that are compared and the host has, and half as many
    /// sequences.
    pub fn all(seed: u64, cases: u64) -> Self {
        let all =
            || Mode::ALL.into_iter().flat_map(|mode| scope::compared(mode).map(move |code| (mode, code)));
        let host_lacks: BTreeMap<Code, &'static str> =
            all().filter_map(|(_, code)| Some((code, scope::host_lacks(code)?))).collect();
        let codes: Vec<(Mode, Code)> = all().filter(|(_, code)| !host_lacks.contains_key(code)).collect();
        let each = cases.div_ceil(codes.len() as u64);
        let instructions = codes.into_iter().map(|(mode, code)| (mode, Subject::Instruction(code), each));
        let sequences = Mode::ALL.into_iter().map(|mode| (mode, Subject::Sequence, cases / 4));
        Self { seed, subjects: instructions.chain(sequences).collect(), host_lacks }
    }
}

/// How a case came to be: enough to run it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The seed.
    pub seed: u64,
    /// The mode.
    pub mode: Mode,
    /// What was asked for.
    pub subject: Subject,
    /// Its number.
    pub number: u64,
}

impl Origin {
    /// The case. It depends on nothing but the origin.
    pub fn case(self, generator: &mut Generator) -> Result<Case, Failure> {
        let subject = match self.subject {
            Subject::Instruction(code) => code as u64,
            Subject::Sequence => 0xffff,
        };
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = u64::from(self.mode.bits()) << 56 ^ seed ^ subject << 40 ^ self.number;
        let mut random = Random::new(mixed);
        match self.subject {
            Subject::Instruction(code) => generator.case(&mut random, self.mode, code),
            Subject::Sequence => generator.sequence(&mut random, self.mode),
        }
    }
}

/// A case the engines disagree on.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Where it comes from.
    pub origin: Origin,
    /// The case.
    pub case: Case,
    /// What the host made of it.
    pub host: Outcome,
    /// What differs.
    pub mismatches: Vec<Mismatch>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { seed, mode, subject, number } = self.origin;
        let subject = match subject {
            Subject::Instruction(code) => format!("--code {code:?}"),
            Subject::Sequence => "--sequence".to_owned(),
        };
        writeln!(f, "--seed {seed} --bits {} {subject} --case {number}", mode.bits())?;
        write!(f, "{:?}  host: {:x?}", self.case, self.host.end)?;
        for mismatch in &self.mismatches {
            write!(f, "\n  {mismatch}")?;
        }
        Ok(())
    }
}

/// What came of the cases of one instruction.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Cases compared.
    pub compared: u64,
    /// Cases the instruction retired in, on the host.
    pub retired: u64,
    /// Cases the engines disagree on.
    pub disagreements: u64,
    /// The first of them.
    pub first: Vec<Disagreement>,
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By mode and the instruction that ran.
    pub tallies: BTreeMap<(Mode, Subject), Tally>,
    /// Instructions no case could be made for.
    pub failures: BTreeMap<Subject, Failure>,
    /// Instructions left out because the host's processor lacks a feature.
    pub host_lacks: BTreeMap<Code, &'static str>,
    /// Cases left out because the host's vendor has the instruction otherwise.
    pub left_out: BTreeMap<Difference, u64>,
}

impl Report {
    /// Cases compared.
    pub fn compared(&self) -> u64 {
        self.tallies.values().map(|tally| tally.compared).sum()
    }

    /// Cases the engines disagree on.
    pub fn disagreements(&self) -> u64 {
        self.tallies.values().map(|tally| tally.disagreements).sum()
    }

    /// Whether the engines agree on every case of every instruction.
    pub fn is_clean(&self) -> bool {
        self.disagreements() == 0 && self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((mode, subject), tally) in self.tallies.iter().filter(|(_, tally)| tally.disagreements > 0) {
            let bits = mode.bits();
            writeln!(
                f,
                "{subject} ({bits} bits): {} of {} cases differ",
                tally.disagreements, tally.compared
            )?;
            for disagreement in &tally.first {
                writeln!(f, "{disagreement}\n")?;
            }
        }
        for (subject, failure) in &self.failures {
            writeln!(f, "{subject}: no case could be made: {failure:?}")?;
        }
        for (code, feature) in &self.host_lacks {
            writeln!(f, "{code:?}: excluded, the host lacks {feature}")?;
        }
        for (difference, count) in &self.left_out {
            writeln!(f, "{count} cases left out on this host: {}", difference.name())?;
        }
        let retired: u64 = self.tallies.values().map(|tally| tally.retired).sum();
        let differing = self.tallies.values().filter(|tally| tally.disagreements > 0).count();
        writeln!(
            f,
            "{} cases of {} instructions compared, {retired} retired, {} differ (of {differing} instructions), {} instructions \
             excluded by the host",
            self.compared(),
            self.tallies.len(),
            self.disagreements(),
            self.host_lacks.len(),
        )
    }
}

/// Disagreements kept per instruction.
const KEPT: usize = 3;

/// Runs the plan.
pub fn run(
    plan: &Plan,
    generator: &mut Generator,
    host: &mut dyn Engine,
    interpreter: &mut dyn Engine,
) -> Report {
    let mut report = Report { host_lacks: plan.host_lacks.clone(), ..Report::default() };
    for &(mode, subject, cases) in &plan.subjects {
        for number in 0..cases {
            let origin = Origin { seed: plan.seed, mode, subject, number };
            let case = match origin.case(generator) {
                Ok(case) => case,
                Err(failure) => {
                    report.failures.insert(subject, failure);
                    continue;
                }
            };
            if let Some(difference) = differences::leaves_out(&case) {
                *report.left_out.entry(difference).or_default() += 1;
                continue;
            }
            // With a random prefix it is not always the instruction asked for.
            let ran = match subject {
                Subject::Instruction(_) => Subject::Instruction(case.code()),
                Subject::Sequence => subject,
            };
            let expected = host.run(&case);
            let actual = interpreter.run(&case);
            let tally = report.tallies.entry((mode, ran)).or_default();
            tally.compared += 1;
            tally.retired += u64::from(expected.end == End::Retired);
            let mismatches = compare(&case, &expected, &actual);
            if !mismatches.is_empty() {
                tally.disagreements += 1;
                if tally.first.len() < KEPT {
                    tally.first.push(Disagreement { origin, case, host: expected, mismatches });
                }
            }
        }
    }
    report
}

/// The instruction with this iced-x86 name.
pub fn code_named(name: &str) -> Result<Code> {
    match Code::values().find(|code| format!("{code:?}").eq_ignore_ascii_case(name)) {
        Some(code) => Ok(code),
        None => bail!("iced-x86 has no Code named {name}"),
    }
}
