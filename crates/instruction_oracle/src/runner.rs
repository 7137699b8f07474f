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

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything random.
    pub seed: u64,
    /// The instructions, each with the mode it runs in.
    pub codes: Vec<(Mode, Code)>,
    /// Instructions left out because the host's processor lacks a feature.
    pub host_lacks: BTreeMap<Code, &'static str>,
    /// Cases of each.
    pub cases_per_code: u64,
    /// The number of the first case of each.
    pub first_case: u64,
}

impl Plan {
    /// At least `cases` cases, spread evenly over all instructions that are compared and the host has.
    pub fn all(seed: u64, cases: u64) -> Self {
        let all =
            || Mode::ALL.into_iter().flat_map(|mode| scope::compared(mode).map(move |code| (mode, code)));
        let host_lacks: BTreeMap<Code, &'static str> =
            all().filter_map(|(_, code)| Some((code, scope::host_lacks(code)?))).collect();
        let codes: Vec<(Mode, Code)> = all().filter(|(_, code)| !host_lacks.contains_key(code)).collect();
        let cases_per_code = cases.div_ceil(codes.len() as u64);
        Self { seed, codes, host_lacks, cases_per_code, first_case: 0 }
    }
}

/// How a case came to be: enough to run it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The seed.
    pub seed: u64,
    /// The mode.
    pub mode: Mode,
    /// The instruction asked for.
    pub code: Code,
    /// Its number.
    pub number: u64,
}

impl Origin {
    /// The case. It depends on nothing but the origin.
    pub fn case(self, generator: &mut Generator) -> Result<Case, Failure> {
        let mode = u64::from(self.mode.bits()) << 56;
        let mixed =
            mode ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (self.code as u64) << 40 ^ self.number;
        generator.case(&mut Random::new(mixed), self.mode, self.code)
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
        let Origin { seed, mode, code, number } = self.origin;
        writeln!(f, "--seed {seed} --bits {} --code {code:?} --case {number}", mode.bits())?;
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
    /// By the instruction that ran, which with a random prefix is not always the one asked for.
    pub tallies: BTreeMap<(Mode, Code), Tally>,
    /// Instructions no case could be made for.
    pub failures: BTreeMap<Code, Failure>,
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
        for ((mode, code), tally) in self.tallies.iter().filter(|(_, tally)| tally.disagreements > 0) {
            let bits = mode.bits();
            writeln!(
                f,
                "{code:?} ({bits} bits): {} of {} cases differ",
                tally.disagreements, tally.compared
            )?;
            for disagreement in &tally.first {
                writeln!(f, "{disagreement}\n")?;
            }
        }
        for (code, failure) in &self.failures {
            writeln!(f, "{code:?}: no case could be made: {failure:?}")?;
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
    for &(mode, code) in &plan.codes {
        for number in plan.first_case..plan.first_case + plan.cases_per_code {
            let origin = Origin { seed: plan.seed, mode, code, number };
            let case = match origin.case(generator) {
                Ok(case) => case,
                Err(failure) => {
                    report.failures.insert(code, failure);
                    continue;
                }
            };
            if let Some(difference) = differences::leaves_out(&case) {
                *report.left_out.entry(difference).or_default() += 1;
                continue;
            }
            let expected = host.run(&case);
            let actual = interpreter.run(&case);
            let tally = report.tallies.entry((mode, case.code())).or_default();
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
