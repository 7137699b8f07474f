//! Runs the comparison with other seeds, more cases or a single instruction, and writes the tables of coverage.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> anyhow::Result<std::process::ExitCode> {
    command::run()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() {
    eprintln!("instruction_oracle needs Linux on x86-64: its oracle is the processor it runs on");
    std::process::exit(2);
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod command {
    use std::process::ExitCode;

    use anyhow::{Result, anyhow};
    use clap::Parser;
    use instruction_oracle::case::{Engine, Mode};
    use instruction_oracle::compare::compare;
    use instruction_oracle::coverage;
    use instruction_oracle::generate::Generator;
    use instruction_oracle::interpreter::Interpreter;
    use instruction_oracle::native::Native;
    use instruction_oracle::runner::{self, Origin, Plan, Subject};

    /// Compares single instructions on the host's processor and in the interpreter.
    #[derive(Debug, Parser)]
    struct Arguments {
        /// Decides all random choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many cases, spread over all instructions (or all of the one named).
        #[arg(long, default_value_t = 2_000_000)]
        cases: u64,
        /// Only this iced-x86 Code, for example Add_rm8_r8.
        #[arg(long)]
        code: Option<String>,
        /// The mode of --code or --sequence: 64 or 32 bits.
        #[arg(long, default_value_t = 64)]
        bits: u32,
        /// Only sequences of integer instructions.
        #[arg(long, conflicts_with = "code")]
        sequence: bool,
        /// Only the case with this number, and everything about it; needs --code or --sequence.
        #[arg(long)]
        case: Option<u64>,
        /// Write the tables of coverage into the README and do nothing else.
        #[arg(long)]
        accept_coverage: bool,
    }

    pub(super) fn run() -> Result<ExitCode> {
        let arguments = Arguments::parse();
        if arguments.accept_coverage {
            coverage::accept()?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut native = Native::new()?;
        let mut generator = Generator::new();
        let mut interpreter = Interpreter::new();
        let mode = Mode::ALL.into_iter().find(|mode| mode.bits() == arguments.bits);
        let mode = mode.ok_or_else(|| anyhow!("--bits is 64 or 32, not {}", arguments.bits))?;
        let code = arguments.code.as_deref().map(runner::code_named).transpose()?;
        let subject = match code {
            Some(code) => Some(Subject::Instruction(code)),
            None => arguments.sequence.then_some(Subject::Sequence),
        };
        if let Some(number) = arguments.case {
            let subject = subject.ok_or_else(|| anyhow!("--case needs --code or --sequence"))?;
            let origin = Origin { seed: arguments.seed, mode, subject, number };
            let case = origin.case(&mut generator).map_err(|failure| anyhow!("no such case: {failure:?}"))?;
            print!("{case:?}");
            let host = native.run(&case);
            println!("\nhost: {host:?}");
            let ours = interpreter.run(&case);
            println!("\ninterpreter: {ours:?}");
            let mismatches = compare(&case, &host, &ours);
            for mismatch in &mismatches {
                println!("{mismatch}");
            }
            return Ok(if mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let mut plan = Plan::all(arguments.seed, arguments.cases);
        if let Some(subject) = subject {
            plan.subjects = vec![(mode, subject, arguments.cases)];
        }
        let report = runner::run(&plan, &mut generator, &mut native, &mut interpreter);
        print!("{report}");
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
