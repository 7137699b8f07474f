//! Running a case on an engine and comparing what comes out.

use saved_state::Save;
use x86_cpu::{CpuStateV1, Exit};

use crate::engine::Engine;
use crate::frame::{self, Class, Delivered};
use crate::machine::{self, DATA, DATA_LEN, Machine};
use crate::page_tables::ENTRY_BITS;
use crate::text::{Case, Line};
use crate::values::{self, FLAGS, number};

/// What a case expects to happen.
#[derive(Debug, Default)]
struct Expected {
    event: Option<(Class, String)>,
    exits: Vec<String>,
}

/// An exit as cases write it; nothing for those that the runner deals with.
fn exit_text(exit: Exit) -> Option<String> {
    Some(match exit {
        Exit::Budget | Exit::InterruptWindow => return None,
        Exit::Halt => "halt".to_owned(),
        Exit::Pause => "pause".to_owned(),
        Exit::IoRead { port, size } => format!("in {port:#x} {size}"),
        Exit::IoWrite { port, size, value } => format!("out {port:#x} {size} {value:#x}"),
        Exit::MmioRead { address, size } => format!("load {address:#x} {size}"),
        Exit::MmioWrite { address, size, value } => format!("store {address:#x} {size} {value:#x}"),
        Exit::MsrRead { index } => format!("rdmsr {index:#x}"),
        Exit::MsrWrite { index, value } => format!("wrmsr {index:#x} {value:#x}"),
        Exit::Cr8Read => "cr8".to_owned(),
        Exit::Cr8Write { value } => format!("cr8 {value:#x}"),
        Exit::Shutdown => "shutdown".to_owned(),
        Exit::Unsupported { .. } => "unsupported".to_owned(),
    })
}

fn asks(exit: Exit) -> bool {
    matches!(
        exit,
        Exit::IoRead { .. }
            | Exit::MmioRead { .. }
            | Exit::MsrRead { .. }
            | Exit::MsrWrite { .. }
            | Exit::Cr8Read
    )
}

fn class(word: &str) -> Option<Class> {
    Some(match word {
        "fault" => Class::Fault,
        "break" => Class::Break,
        "abort" => Class::Abort,
        "trap" => Class::Trap,
        "soft" => Class::Soft,
        "interrupt" => Class::Interrupt,
        _ => return None,
    })
}

fn expected(case: &Case) -> Expected {
    let mut expected = Expected::default();
    for line in case.lines(&["expect"]) {
        let mut words = line.words();
        let first = words.next().unwrap_or_default();
        if let Some(class) = class(first) {
            expected.event = Some((class, words.next().unwrap_or_default().to_owned()));
        } else if first == "exit" {
            expected.exits.push(words.collect::<Vec<_>>().join(" "));
        }
    }
    expected
}

/// What came out of a run.
struct Outcome {
    exits: Vec<String>,
    state: CpuStateV1,
    /// The vector whose handler was entered.
    handler: Option<u8>,
    retired: u64,
}

/// Runs `case` on `E`: every difference, one message each.
pub(crate) fn run<E: Engine>(case: &Case) -> Vec<String> {
    let mut machine = match Machine::new(case) {
        Ok(machine) => machine,
        Err(message) => return vec![message],
    };
    let expected = expected(case);
    let data = data_of(&machine);
    let steps = match steps(case, &machine, &expected) {
        Ok(steps) => steps,
        Err(message) => return vec![message],
    };
    let outcome = execute::<E>(&mut machine, steps);
    let told = |message: String| format!("{}: {:?} on {}: {message}", case.place, case.name, E::NAME);
    compare(case, &machine, &expected, &outcome, &data, steps)
        .unwrap_or_else(|message| vec![message])
        .into_iter()
        .map(told)
        .collect()
}

/// Instructions and deliveries of the case: those of its `steps` line, or one for each of its instructions and one for an event behind
/// the last.
fn steps(case: &Case, machine: &Machine, expected: &Expected) -> Result<u64, String> {
    if let Some(line) = case.lines(&["steps"]).next() {
        return number(&line.rest).map(|steps| steps as u64).map_err(|error| line.error(error));
    }
    let behind = matches!(expected.event, Some((Class::Trap | Class::Interrupt, _)));
    Ok(machine.code.len() as u64 + u64::from(behind))
}

fn execute<E: Engine>(machine: &mut Machine, steps: u64) -> Outcome {
    let mut engine = E::new(machine.state.clone());
    let start = engine.cpu().retired();
    let mut exits = Vec::new();
    let mut answers = std::mem::take(&mut machine.answers).into_iter();
    let mut interrupts = std::mem::take(&mut machine.interrupts).into_iter();
    let mut halted = false;
    // Bounded: each turn retires, answers, or ends.
    for _ in 0..100_000 {
        let done = engine.cpu().retired().wrapping_sub(start);
        let exit = engine.run(&machine.mem, steps.saturating_sub(done));
        exits.extend(exit_text(exit));
        halted = exit == Exit::Halt;
        match exit {
            Exit::Budget => {}
            Exit::InterruptWindow => {
                let Some(vector) = interrupts.next() else {
                    exits.push("an interrupt window that nobody asked for".to_owned());
                    break;
                };
                engine.cpu().set_interrupt_line(interrupts.len() > 0);
                if let Err(exit) = engine.cpu().interrupt(&machine.mem, vector) {
                    exits.extend(exit_text(exit));
                    break;
                }
            }
            _ if asks(exit) => match answers.next() {
                Some(answer) => engine.cpu().answer(exit, answer),
                None => break,
            },
            Exit::IoWrite { .. } | Exit::MmioWrite { .. } | Exit::Cr8Write { .. } => continue,
            // Something is to come that wakes the processor: a step's trap.
            Exit::Halt if done < steps && frame::handler_of(&engine.cpu().save(), true).is_none() => {}
            _ => break,
        }
        let retired = engine.cpu().retired().wrapping_sub(start);
        let state = engine.cpu().save();
        if frame::handler_of(&state, false).is_some() || (retired >= steps && exit == Exit::Budget) {
            break;
        }
    }
    let retired = engine.cpu().retired().wrapping_sub(start);
    let mut state = engine.cpu().save();
    let handler = frame::handler_of(&state, halted);
    if handler.is_some() && halted {
        // A whole run goes on into the HLT of the handler.
        exits.pop();
        state.rip -= 1;
    }
    Outcome { exits, state, handler, retired }
}

fn data_of(machine: &Machine) -> Vec<u8> {
    let mut data = vec![0; DATA_LEN as usize];
    machine.mem.read_bytes(DATA, &mut data).expect("in RAM");
    data
}

fn compare(
    case: &Case,
    machine: &Machine,
    expected: &Expected,
    outcome: &Outcome,
    data: &[u8],
    steps: u64,
) -> Result<Vec<String>, String> {
    if outcome.exits != expected.exits {
        let at =
            outcome.handler.map(|vector| format!(", in the handler of {}", frame::event_text(vector, None)));
        return Err(format!("exits {:?}{}, not {:?}", outcome.exits, at.unwrap_or_default(), expected.exits));
    }
    // A processor that has shut down is looked at no more.
    if expected.exits.last().is_some_and(|exit| exit == "shutdown") {
        return Ok(Vec::new());
    }
    let mut messages = Vec::new();
    let (mut state, mut delivered) = (outcome.state.clone(), None);
    match (&expected.event, outcome.handler) {
        (None, None) => {
            if outcome.exits.is_empty() && outcome.retired != steps {
                messages.push(format!("{} instructions instead of {steps}", outcome.retired));
            }
        }
        (Some((_, event)), None) => return Err(format!("no {event}, at rip {:#x}", outcome.state.rip)),
        (wanted, Some(vector)) => {
            let hardware = !matches!(wanted, Some((Class::Soft | Class::Interrupt, _)));
            let real = outcome.state.cr0 & 1 == 0 || outcome.state.rflags & 0x2_0000 != 0;
            let has_code = hardware && !real && matches!(vector, 8 | 10..=14 | 17);
            let event = frame::read(machine, &machine.state, &outcome.state, vector, has_code)?;
            let text = frame::event_text(vector, event.error_code);
            match wanted {
                Some((_, wanted)) if same_event(wanted, &text) => {}
                Some((_, wanted)) => return Err(format!("{text}, not {wanted}")),
                None => return Err(format!("{text} at {:#x}", event.interrupted.rip)),
            }
            state = event.interrupted.clone();
            delivered = Some(event);
        }
    }
    let mut wanted = machine.state.clone();
    wanted.rip = default_rip(machine, expected, outcome);
    wanted.rflags &= !0x1_0000;
    if let Some((Class::Fault, _)) = expected.event
        && machine.mode.kind != machine::Kind::Real16
    {
        wanted.rflags |= 0x1_0000;
    }
    for line in case.lines(&["expect"]) {
        expect_line(machine, line, &mut wanted, outcome, &mut messages).map_err(|error| line.error(error))?;
    }
    if let Some(event) = &delivered {
        complete_from_frame(&mut wanted, &state, event, expected);
        let differing = (outcome.state.rflags ^ event.handler_flags) & !event.handler_flags_unknown;
        if differing != 0 {
            messages.push(format!(
                "flags {} of the handler, not {}",
                flags_text(outcome.state.rflags),
                flags_text(event.handler_flags)
            ));
        }
    }
    let undefined = undefined_flags(case)?;
    state.rflags = state.rflags & !undefined | wanted.rflags & undefined;
    for (name, got, want) in aligned(&state, &wanted) {
        if got == want {
            continue;
        }
        let show = |value: Option<u128>| match value {
            Some(value) if name == "flags" => flags_text(value as u64),
            Some(value) => format!("{value:#x}"),
            None => "nothing".to_owned(),
        };
        messages.push(format!("{name} is {}, not {}", show(got), show(want)));
    }
    compare_data(case, machine, data, &mut messages)?;
    Ok(messages)
}

/// Values of both states by name; `None` where only the other has it.
fn aligned(got: &CpuStateV1, want: &CpuStateV1) -> Vec<(String, Option<u128>, Option<u128>)> {
    let (got, want) = (values::all(got), values::all(want));
    let find = |table: &[(String, u128)], name: &str| {
        table.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    };
    let mut names: Vec<&String> = got.iter().map(|(name, _)| name).collect();
    names.extend(want.iter().map(|(name, _)| name).filter(|name| find(&got, name).is_none()));
    names.into_iter().map(|name| (name.clone(), find(&got, name), find(&want, name))).collect()
}

/// Vectors without an error code may be written with or without their mode's lack of one: `#GP` in real mode.
fn same_event(wanted: &str, got: &str) -> bool {
    let parts = |text: &str| -> (String, Option<u128>) {
        match text.split_once('(') {
            Some((name, code)) => (name.to_owned(), number(code.trim_end_matches(')')).ok()),
            None => (
                number(text).map_or_else(|_| text.to_owned(), |vector| frame::event_text(vector as u8, None)),
                None,
            ),
        }
    };
    parts(wanted) == parts(got)
}

fn default_rip(machine: &Machine, expected: &Expected, outcome: &Outcome) -> u64 {
    let Some(last) = machine.code.last() else { return machine.state.rip };
    let waits = outcome.exits.last().is_some_and(|exit| {
        exit == "unsupported" || outcome.retired < machine.code.len() as u64 && exit != "halt"
    });
    let at_last = matches!(expected.event, Some((Class::Fault | Class::Break | Class::Abort, _)))
        || expected.event.is_none() && waits;
    last.offset + if at_last { 0 } else { last.bytes.len() as u64 }
}

/// A frame tells less than registers do: what it does not tell is taken as it is.
fn complete_from_frame(wanted: &mut CpuStateV1, state: &CpuStateV1, event: &Delivered, expected: &Expected) {
    for index in [1, 2] {
        let selector = wanted.segments[index].selector;
        wanted.segments[index] = state.segments[index].clone();
        wanted.segments[index].selector = selector;
    }
    let tell = |wanted: &mut u64, got: u64| *wanted = *wanted & event.known | got & !event.known;
    tell(&mut wanted.rip, state.rip);
    tell(&mut wanted.rflags, state.rflags);
    if matches!(expected.event, Some((Class::Abort, _))) {
        wanted.rflags = wanted.rflags & !0x1_0000 | state.rflags & 0x1_0000;
    }
    if event.vector == 2 {
        wanted.nmi_blocked = state.nmi_blocked;
    }
}

/// One `expect` line: changes of the wanted state, checks of memory, entries and the handler.
fn expect_line(
    machine: &Machine,
    line: &Line,
    wanted: &mut CpuStateV1,
    outcome: &Outcome,
    messages: &mut Vec<String>,
) -> Result<(), String> {
    let mut words = line.words().peekable();
    let first = *words.peek().ok_or("nothing is expected")?;
    if class(first).is_some() {
        words.next();
        words.next();
    } else if first == "exit" {
        return Ok(());
    } else if ["page", "pde", "pdpte", "pml4e"].contains(&first) {
        return expect_entry(machine, line, messages);
    }
    for word in words {
        if word == "unchanged" {
            continue;
        }
        let (name, text) = word.split_once('=').ok_or_else(|| format!("{word:?} expects nothing"))?;
        if let Some((address, bytes)) = machine::memory_word(name, text)? {
            let mut found = vec![0; bytes.len()];
            machine.mem.read_bytes(address, &mut found).map_err(|_| format!("{address:#x} is not in RAM"))?;
            if found != bytes {
                messages.push(format!("memory at {address:#x} is {found:02x?}, not {bytes:02x?}"));
            }
        } else if let Some(name) = name.strip_prefix("handler.") {
            expect_handler(name, text, outcome, messages)?;
        } else if values::segment_mut(wanted, name).is_some() {
            let loaded = machine.loaded_segment(wanted, name, number(text)? as u16)?;
            if let Some(segment) = values::segment_mut(wanted, name) {
                *segment = loaded;
            }
        } else {
            let old = machine::old_value(wanted, name);
            values::set(wanted, name, values::value(name, text, old)?)?;
        }
    }
    Ok(())
}

fn expect_handler(
    name: &str,
    text: &str,
    outcome: &Outcome,
    messages: &mut Vec<String>,
) -> Result<(), String> {
    let want = number(text)?;
    let held = values::all(&outcome.state);
    let got = held.iter().find(|(other, _)| other == name).ok_or_else(|| format!("there is no {name}"))?.1;
    if got != want {
        messages.push(format!("{name} of the handler is {got:#x}, not {want:#x}"));
    }
    Ok(())
}

/// `expect page 0x30000 +A -D`.
fn expect_entry(machine: &Machine, line: &Line, messages: &mut Vec<String>) -> Result<(), String> {
    let mut words = line.words();
    let keyword = words.next().unwrap_or_default();
    let linear = number(words.next().ok_or("an address is missing")?)? as u64;
    let (address, bytes) = machine.entry_address(keyword, linear)?;
    let entry = machine.entry(address, bytes);
    for word in words {
        let (name, bit) = ENTRY_BITS
            .iter()
            .find(|(name, _)| Some(*name) == word.get(1..))
            .ok_or_else(|| format!("{word:?} is no bit of an entry"))?;
        if (entry >> bit & 1 != 0) != word.starts_with('+') {
            messages.push(format!("{name} of the {keyword} of {linear:#x} is wrong in {entry:#x}"));
        }
    }
    Ok(())
}

fn undefined_flags(case: &Case) -> Result<u64, String> {
    let mut mask = 0;
    for line in case.lines(&["undefined"]) {
        for word in line.words() {
            let known = FLAGS.iter().find(|(name, _)| *name == word);
            mask |= known.ok_or_else(|| line.error(format!("there is no flag {word:?}")))?.1;
        }
    }
    Ok(mask)
}

/// Nothing changes in the data page but what a case says.
fn compare_data(
    case: &Case,
    machine: &Machine,
    before: &[u8],
    messages: &mut Vec<String>,
) -> Result<(), String> {
    let mut after = data_of(machine);
    for line in case.lines(&["expect"]) {
        for word in line.words() {
            let Some((name, text)) = word.split_once('=') else { continue };
            let Some((address, bytes)) =
                machine::memory_word(name, text).map_err(|error| line.error(error))?
            else {
                continue;
            };
            for (index, _) in (address..).zip(bytes) {
                let at = index.wrapping_sub(DATA) as usize;
                if let (Some(byte), Some(old)) = (after.get_mut(at), before.get(at)) {
                    *byte = *old;
                }
            }
        }
    }
    if let Some(at) = (0..after.len()).find(|&at| after[at] != before[at]) {
        messages.push(format!(
            "memory at {:#x} became {:#x} from {:#x}",
            DATA + at as u64,
            after[at],
            before[at]
        ));
    }
    Ok(())
}

fn flags_text(flags: u64) -> String {
    let mut names: Vec<String> = Vec::new();
    for (name, mask) in FLAGS {
        let bits = flags & mask;
        match name {
            "IOPL" if bits != 0 => names.push(format!("IOPL{}", bits >> 12)),
            _ if bits != 0 => names.push(name.to_owned()),
            _ => {}
        }
    }
    if names.is_empty() { "none".to_owned() } else { names.join("+") }
}
