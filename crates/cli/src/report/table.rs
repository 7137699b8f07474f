//! The report for people.

use std::fmt::Write;
use std::time::Duration;

use super::{Report, ending, registers};
use crate::quantity::grouped;

/// The report as text.
pub(super) fn table(report: &Report<'_>) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = fill(report, &mut text);
    text
}

fn fill(report: &Report<'_>, text: &mut String) -> std::fmt::Result {
    let machine = report.machine;
    let vm = machine.vm();
    writeln!(text, "{} (exit status {})", ending::sentence(&report.end), report.status)?;
    write!(text, "  instructions   {}", grouped(machine.retired()))?;
    if report.before > 0 {
        write!(text, ", {} of them in this run", grouped(report.executed()))?;
    }
    writeln!(text)?;
    if vm.vcpu_count() > 1 {
        for index in 0..vm.vcpu_count() {
            writeln!(text, "    processor {index:<2} {}", grouped(vm.retired_by(index)))?;
        }
    }
    writeln!(text, "  virtual time   {}", seconds(Duration::from_nanos(machine.now())))?;
    writeln!(text, "  wall time      {}, {:.1} MIPS", seconds(report.wall_time), report.mips())?;
    writeln!(text, "  exits          {:>14} {:>14}", "count", "handled in")?;
    for (kind, count) in machine.statistics().counts().filter(|(_, count)| count.count > 0) {
        let (name, number, time) = (kind.name(), grouped(count.count), seconds(count.time));
        writeln!(text, "    {name:<24} {number:>14} {time:>14}")?;
    }
    writeln!(text, "  state digest   {}", machine.digest())?;
    if let Some(path) = report.saved_to {
        writeln!(text, "  saved to       {}", path.display())?;
    }
    if ending::is_bad(&report.end) {
        for processor in registers::processors(vm) {
            write!(text, "{processor}")?;
        }
        writeln!(text, "  last exits")?;
        for (at, vcpu, exit) in machine.statistics().last() {
            writeln!(text, "    {:>20} ns  processor {vcpu:<2} {}", grouped(*at), ending::exit(exit))?;
        }
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06} s", grouped(time.as_secs()), time.subsec_micros())
}
