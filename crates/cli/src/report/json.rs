//! The report for programs. Its fields are described in this crate's README; they stay as they are within a `format`.

use serde::Serialize;

use super::registers::{Processor, processors};
use super::{Report, ending};
use machine::{ClockMode, End};

/// Changes when a field changes its meaning or goes away.
const FORMAT: u32 = 1;

/// The report of a run.
#[derive(Debug, Serialize)]
pub(super) struct Json {
    format: u32,
    ended: Ended,
    exit_status: u8,
    boot_protocol: Option<String>,
    memory_bytes: u64,
    clock: &'static str,
    instructions: Instructions,
    virtual_time_ns: u64,
    wall_time_ns: u64,
    mips: f64,
    exits: Vec<Exits>,
    state_digest: String,
    snapshot: Option<String>,
    processors: Option<Vec<Processor>>,
    last_exits: Option<Vec<LastExit>>,
}

#[derive(Debug, Serialize)]
struct Ended {
    how: &'static str,
    description: String,
    guest_status: Option<u32>,
    processor: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Instructions {
    total: u64,
    this_run: u64,
    by_processor: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Exits {
    reason: &'static str,
    count: u64,
    time_ns: u64,
}

#[derive(Debug, Serialize)]
struct LastExit {
    virtual_time_ns: u64,
    processor: usize,
    exit: String,
}

impl Json {
    /// The report in this form.
    pub(super) fn of(report: &Report<'_>) -> Self {
        let &Report { machine, end, protocol, before: _, wall_time, status, saved_to } = report;
        let vm = machine.vm();
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bad = ending::is_bad(&end);
        Self {
            format: FORMAT,
            ended: Ended {
                how: ending::name(&end),
                description: ending::sentence(&end),
                guest_status: if let End::Exit { status } = end { Some(status) } else { None },
                processor: if let End::TripleFault { vcpu } = end { Some(vcpu) } else { None },
            },
            exit_status: status,
            boot_protocol: protocol.map(|protocol| protocol.to_string()),
            memory_bytes: machine.config().memory,
            clock: match machine.config().clock {
                ClockMode::Icount => "icount",
                ClockMode::Host => "host",
            },
            instructions: Instructions {
                total: machine.retired(),
                this_run: report.executed(),
                by_processor: (0..vm.vcpu_count()).map(|index| vm.retired_by(index)).collect(),
            },
            virtual_time_ns: machine.now(),
            wall_time_ns: nanoseconds(wall_time),
            mips: report.mips(),
            exits: machine
                .statistics()
                .counts()
                .map(|(kind, count)| Exits {
                    reason: kind.name(),
                    count: count.count,
                    time_ns: nanoseconds(count.time),
                })
                .collect(),
            state_digest: machine.digest().to_string(),
            snapshot: saved_to.map(|path| path.display().to_string()),
            processors: bad.then(|| processors(vm)),
            last_exits: bad.then(|| {
                let last = machine.statistics().last();
                last.map(|(at, vcpu, exit)| LastExit {
                    virtual_time_ns: *at,
                    processor: *vcpu,
                    exit: ending::exit(exit),
                })
                .collect()
            }),
        }
    }
}
