//! Running a list of steps to its end, whatever fails on the way, and saying at the end how each went.
use anyhow::Result;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The steps that were run.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    time: Duration,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Succeeded,
    Failed(String),
    NotRun(String),
}

impl Steps {
    /// Runs a step, and says whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("== {name}");
        let start = Instant::now();
        let result = step();
        let outcome = match result {
            Ok(()) => Outcome::Succeeded,
            Err(error) => {
                eprintln!("{error:#}");
                // The summary has a line for each step; the whole story is above.
                let text = format!("{error:#}");
                Outcome::Failed(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        let succeeded = matches!(outcome, Outcome::Succeeded);
        self.done.push(Step { name: name.to_owned(), time: start.elapsed(), outcome });
        succeeded
    }

    /// Notes a step that cannot be run because an earlier one failed. It counts as failed.
    pub(crate) fn not_run(&mut self, name: &str, reason: &str) {
        let outcome = Outcome::NotRun(reason.to_owned());
        self.done.push(Step { name: name.to_owned(), time: Duration::ZERO, outcome });
    }

    /// Prints how each step went, and returns the status to exit with.
    pub(crate) fn finish(self) -> ExitCode {
        print!("{}", self.summary());
        if self.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn failed(&self) -> usize {
        self.done.iter().filter(|step| !matches!(step.outcome, Outcome::Succeeded)).count()
    }

    fn summary(&self) -> String {
        let mut text = String::from("\n");
        let width = self.done.iter().map(|step| step.name.len()).max().unwrap_or(0);
        for step in &self.done {
            let (name, seconds) = (&step.name, step.time.as_secs_f64());
            text += &match &step.outcome {
                Outcome::Succeeded => format!("  {name:width$}  ok       {seconds:7.1} s\n"),
                Outcome::Failed(why) => format!("  {name:width$}  FAILED   {seconds:7.1} s  {why}\n"),
                Outcome::NotRun(why) => format!("  {name:width$}  NOT RUN            {why}\n"),
            };
        }
        text += &match self.failed() {
            0 => format!("all {} steps succeeded\n", self.done.len()),
            failed => format!("{failed} of {} steps did not succeed\n", self.done.len()),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn every_failure_is_in_the_summary() {
        let mut steps = Steps::default();
        assert!(steps.run("first", || Ok(())));
        assert!(!steps.run("second", || bail!("broken\nmore")));
        assert!(!steps.run("third", || bail!("also broken")));
        steps.not_run("fourth", "no third");
        let summary = steps.summary();
        for line in [
            "first   ok",
            "second  FAILED",
            "s  broken\n",
            "s  also broken\n",
            "fourth  NOT RUN",
            "3 of 4 steps",
        ] {
            assert!(summary.contains(line), "{line}: {summary}");
        }
        assert_eq!(steps.failed(), 3);
    }

    #[test]
    fn success_is_said() {
        let mut steps = Steps::default();
        steps.run("only", || Ok(()));
        assert!(steps.summary().ends_with("all 1 steps succeeded\n"));
    }
}
