//! What the machine sees of the world: the terminal, files, and the user who may stop it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use machine::ClockMode;
use machine::host::{Host, Port};

use crate::args::{RunArgs, Stream};
use crate::input::Input;
use crate::output::Output;
use crate::signals::StopFlag;
use crate::status_line::StatusLine;
use crate::terminal::RawMode;

/// The host of a run.
#[derive(Debug)]
pub(crate) struct Console {
    serial: Output,
    debug_console: Output,
    input: Input,
    stop: StopFlag,
    status_line: Option<StatusLine>,
    /// Output failed outside of [`Host::output`].
    failure: Option<(io::Error, String)>,
    /// Last, so that the terminal is raw until everything else is gone.
    raw_mode: Option<RawMode>,
}

impl Console {
    /// Opens what the arguments say; the terminal is raw from here on, if it is used.
    pub(crate) fn open(args: &RunArgs, clock: ClockMode, stop: &StopFlag) -> Result<Self> {
        let serial = Output::open(&args.serial)?;
        let debug_console = Output::open(&args.debug_console)?;
        let uses_stdio = [&args.serial, &args.debug_console].contains(&&Stream::Stdio);
        let status_line = (!uses_stdio && io::stderr().is_terminal()).then(StatusLine::new);
        let (input, raw_mode) = if args.serial == Stream::Stdio {
            let raw_mode = RawMode::enter()?;
            let in_real_time = clock == ClockMode::Host;
            (Input::standard(raw_mode.is_some(), in_real_time, stop)?, raw_mode)
        } else {
            (Input::none(), None)
        };
        let (stop, failure) = (stop.clone(), None);
        Ok(Self { serial, debug_console, input, stop, status_line, failure, raw_mode })
    }

    /// The run is over: writes out what was gathered and gives the terminal back.
    ///
    /// # Errors
    /// Why output could not be kept, if it could not.
    pub(crate) fn close(mut self) -> Result<()> {
        self.write_out();
        if let Some(line) = &mut self.status_line {
            line.clear();
        }
        let at_line_start = self.serial.at_line_start() && self.debug_console.at_line_start();
        drop(self.raw_mode.take());
        if !at_line_start && io::stdout().is_terminal() {
            crate::message::say("");
        }
        match self.failure.take() {
            Some((error, name)) => {
                Err(error).with_context(|| format!("cannot write the guest's output to {name}"))
            }
            None => Ok(()),
        }
    }

    fn write_out(&mut self) {
        for output in [&mut self.serial, &mut self.debug_console] {
            if let Err(error) = output.write_out() {
                self.failure.get_or_insert_with(|| (error, output.name().to_owned()));
            }
        }
    }
}

impl Host for Console {
    fn output(&mut self, port: Port, bytes: &[u8]) -> io::Result<()> {
        let output = match port {
            Port::Com1 => &mut self.serial,
            Port::Debug => &mut self.debug_console,
            // Nothing is connected there.
            Port::Com2 => return Ok(()),
        };
        let result = output.put(bytes);
        if let Err(error) = &result {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failure.get_or_insert_with(|| (copy, output.name().to_owned()));
        }
        result
    }

    fn input(&mut self, most: usize, bytes: &mut Vec<u8>) {
        self.input.take(most, bytes);
    }

    fn may_have_input(&self) -> bool {
        self.input.may_come()
    }

    fn stop_requested(&mut self) -> bool {
        self.write_out();
        self.stop.is_raised() || self.failure.is_some()
    }

    fn progress(&mut self, retired: u64, now: u64) {
        if let Some(line) = &mut self.status_line {
            line.update(retired, now);
        }
    }

    fn idle(&mut self, time: Duration) {
        self.write_out();
        self.input.sleep(time, &self.stop);
    }
}
