//! Random worlds on the processor: whatever a guest does, nothing panics or hangs, and how its run is cut into pieces never shows.
//!
//! Seeds are fixed: a failure names one, and `TESTUDO_FUZZ_SEED=N cargo test -p x86_cpu --test fuzz` runs that one alone.
//! `TESTUDO_FUZZ_WORLDS=N` runs more of them.

mod code;
mod random;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guest_memory::GuestMemory;
use random::{Random, mix};
use saved_state::{Restore, Save};
use world::World;
use x86_cpu::{Answer, BlockCache, Cpu, CpuStateV1, Exit};

/// Worlds in a run of the tests.
const WORLDS: u64 = 5_000;
/// Instructions of each.
const LENGTH: u64 = 600;
/// Exits without an instruction between them that are still progress: the answers to one instruction are bounded.
const MOST_EXITS: u32 = 20_000;

/// What a machine does from outside, decided by the number of instructions alone.
struct Schedule {
    /// (retired instructions, what happens then), ascending.
    events: Vec<(u64, Event)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    LineUp,
    LineDown,
    Nmi,
}

impl Schedule {
    fn random(random: &mut Random) -> Self {
        let mut events: Vec<(u64, Event)> = (0..random.below(6))
            .map(|_| {
                (
                    random.below(LENGTH),
                    random.pick(&[Event::LineUp, Event::LineUp, Event::LineDown, Event::Nmi]),
                )
            })
            .collect();
        events.sort_by_key(|&(at, _)| at);
        Self { events }
    }
}

/// How a run is cut into pieces.
enum Cuts {
    /// Not at all, beyond what the schedule asks for.
    None,
    /// At random: some of the cuts move to a new processor, drop all blocks, or run again before they answer.
    Random(Random),
    /// At random, and every cut forgets the TLB, which a guest can notice.
    Forgetting(Random),
}

/// What can be seen of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    state: CpuStateV1,
    /// Completed writes, halts and ends, with the instruction they came behind.
    exits: Vec<(u64, Exit)>,
    memory: Vec<u8>,
}

fn restored(state: CpuStateV1) -> Cpu {
    let mut cpu = Cpu::new(0, 2);
    cpu.restore(state).expect("a state that a processor had");
    cpu
}

fn answer_to(exit: Exit) -> Option<Answer> {
    let key = match exit {
        Exit::IoRead { port, size } => u64::from(port) << 8 | u64::from(size),
        Exit::MmioRead { address, size } => address << 8 | u64::from(size) | 1 << 60,
        Exit::MsrRead { index } => u64::from(index) | 2 << 60,
        Exit::MsrWrite { index, value } => u64::from(index) ^ value.rotate_left(32) | 3 << 60,
        Exit::Cr8Read => 4 << 60,
        _ => return None,
    };
    let value = mix(key);
    let refused = matches!(exit, Exit::MsrRead { .. } | Exit::MsrWrite { .. }) && value & 3 == 0;
    Some(if refused { Answer::GeneralProtection } else { Answer::Value(value) })
}

/// Runs `world` for [`LENGTH`] instructions.
fn run(world: &World, mem: &GuestMemory, schedule: &Schedule, mut cuts: Cuts) -> Seen {
    world.fill(mem);
    mem.forget_code();
    let mut cpu = restored(world.state.clone());
    let mut blocks = BlockCache::new();
    let start = cpu.retired();
    let mut exits = Vec::new();
    let mut events = schedule.events.iter().copied().peekable();
    let mut idle = 0;
    loop {
        let done = cpu.retired().wrapping_sub(start);
        while let Some(&(_, event)) = events.peek().filter(|&&(at, _)| at <= done) {
            match event {
                Event::LineUp => cpu.set_interrupt_line(true),
                Event::LineDown => cpu.set_interrupt_line(false),
                Event::Nmi => cpu.set_nmi_pending(),
            }
            events.next();
        }
        if done >= LENGTH {
            break;
        }
        let until = events.peek().map_or(LENGTH, |&(at, _)| at.min(LENGTH));
        let mut budget = until - done;
        if let Cuts::Random(random) | Cuts::Forgetting(random) = &mut cuts {
            budget = if random.chance(30) { 1 } else { 1 + random.below(budget) };
        }
        let exit = cpu.run(mem, &mut blocks, budget);
        let retired = cpu.retired().wrapping_sub(start);
        assert!(retired - done <= budget, "{} instructions of {budget}", retired - done);
        idle = if retired == done { idle + 1 } else { 0 };
        assert!(idle < MOST_EXITS, "no end of exits, the last {exit:?}");
        match exit {
            Exit::Budget => {
                assert_eq!(retired - done, budget, "a budget is exact");
                match &mut cuts {
                    Cuts::None => {}
                    Cuts::Random(random) => cut(&mut cpu, mem, &mut blocks, random),
                    Cuts::Forgetting(_) => {
                        let same = cpu.special_registers();
                        cpu.set_special_registers(&same).expect("what the processor holds");
                    }
                }
            }
            Exit::InterruptWindow => {
                cpu.set_interrupt_line(false);
                if let Err(exit) = cpu.interrupt(mem, 0x20 + (retired % 0xe0) as u8) {
                    exits.push((retired, exit));
                    break;
                }
            }
            Exit::Shutdown | Exit::Unsupported { .. } => {
                exits.push((retired, exit));
                break;
            }
            _ => match answer_to(exit) {
                Some(answer) => {
                    if let Cuts::Random(random) = &mut cuts
                        && random.chance(20)
                    {
                        assert_eq!(cpu.run(mem, &mut blocks, budget), exit, "asked again without an answer");
                    }
                    cpu.answer(exit, answer);
                }
                None => exits.push((retired, exit)),
            },
        }
    }
    let mut memory = Vec::new();
    mem.for_each_page(|_, page| memory.extend_from_slice(page));
    Seen { state: cpu.save(), exits, memory }
}

/// What must not show.
fn cut(cpu: &mut Cpu, mem: &GuestMemory, blocks: &mut BlockCache, random: &mut Random) {
    if random.chance(40) {
        blocks.clear(mem);
    }
    if random.chance(40) {
        let state = cpu.save();
        *cpu = restored(state.clone());
        assert_eq!(cpu.save(), state, "saved, restored and saved");
    }
}

/// The first difference of two runs, told in a line.
fn difference(one: &Seen, other: &Seen) -> Option<String> {
    if let Some(at) =
        (0..one.exits.len().max(other.exits.len())).find(|&at| one.exits.get(at) != other.exits.get(at))
    {
        return Some(format!("exit {at}: {:x?} and {:x?}", one.exits.get(at), other.exits.get(at)));
    }
    if one.state != other.state {
        let (one, other) = (format!("{:#x?}", one.state), format!("{:#x?}", other.state));
        let lines = one.lines().zip(other.lines()).filter(|(one, other)| one != other).take(12);
        return Some(lines.map(|(one, other)| format!("{one} and {other}\n")).collect());
    }
    let at = (0..one.memory.len()).find(|&at| one.memory[at] != other.memory[at])?;
    Some(format!("memory at offset {at:#x}: {:#x} and {:#x}", one.memory[at], other.memory[at]))
}

/// Runs the world of `seed` whole and in pieces.
fn try_world(seed: u64, mem: &GuestMemory) {
    let mut random = Random::new(seed);
    let world = World::random(&mut random);
    if Cpu::new(0, 2).restore(world.state.clone()).is_err() {
        return;
    }
    let schedule = Schedule::random(&mut random);
    let whole = run(&world, mem, &schedule, Cuts::None);
    let pieces = run(&world, mem, &schedule, Cuts::Random(random));
    if let Some(difference) = difference(&whole, &pieces) {
        panic!("whole and in pieces:\n{difference}");
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_worlds_run_whole_as_in_pieces() {
    let only = from_environment("TESTUDO_FUZZ_SEED");
    let worlds = from_environment("TESTUDO_FUZZ_WORLDS").unwrap_or(WORLDS);
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..worlds,
    };
    // A hang is told with its seed instead of a silent end of the test run.
    static AT: AtomicU64 = AtomicU64::new(0);
    std::thread::spawn(|| {
        let mut last = (u64::MAX, 0);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let at = AT.load(Ordering::Relaxed);
            last = if last.0 == at { (at, last.1 + 1) } else { (at, 0) };
            if last.1 > 30 {
                eprintln!("the world of seed {at} does not end");
                std::process::exit(1);
            }
        }
    });
    let mem = world::memory();
    let mut failures = Vec::new();
    for seed in seeds {
        AT.store(seed, Ordering::Relaxed);
        let ran = catch_unwind(AssertUnwindSafe(|| try_world(seed, &mem)));
        if let Err(panic) = ran {
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| {
                panic.downcast_ref::<&str>().map_or_else(String::new, |&text| text.to_owned())
            });
            failures.push(format!("seed {seed}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{} of {worlds} worlds:\n{}", failures.len(), failures.join("\n"));
}

/// Slots lie next to each other in the host's memory; in the guest's there is a hole between them.
#[test]
fn a_store_over_the_end_of_a_slot_leaves_the_next_one_alone() {
    let mem = world::memory();
    mem.write_bytes(0, &[0x5a; world::LOW as usize]).expect("RAM");
    mem.write_bytes(world::HIGH_BASE, &[0xa5; 64]).expect("RAM");
    let mut state = Cpu::new(0, 2).save();
    state.cr0 = 0x31;
    state.cr4 = 0x600;
    for (index, segment) in state.segments.iter_mut().enumerate() {
        segment.base = 0;
        segment.limit = u32::MAX;
        segment.access = if index == 1 { 0xc09b } else { 0xc093 };
    }
    state.xmm[0] = (0x1111_1111_1111_1111, 0x2222_2222_2222_2222);
    state.rip = 0x8000;
    let end = world::LOW as u32;
    // movups [end-8],xmm0
    let mut code = vec![0x0f, 0x11, 0x05];
    code.extend((end - 8).to_le_bytes());
    mem.write_bytes(0x8000, &code).expect("RAM");
    let mut cpu = restored(state);
    let exit = cpu.run(&mem, &mut BlockCache::new(), 1);
    let value = 0x2222_2222_2222_2222;
    assert_eq!(exit, Exit::MmioWrite { address: world::LOW, size: 8, value });
    assert_eq!(mem.read::<u64>(world::LOW - 8).expect("RAM"), 0x1111_1111_1111_1111);
    assert_eq!(mem.read::<u64>(world::LOW - 16).expect("RAM"), 0x5a5a_5a5a_5a5a_5a5a);
    assert_eq!(mem.read::<u64>(world::HIGH_BASE).expect("RAM"), 0xa5a5_a5a5_a5a5_a5a5);
}

/// A test that nothing fails proves nothing: cuts that do show must be seen in some of the worlds.
#[test]
fn cuts_that_forget_the_tlb_are_noticed() {
    let mem = world::memory();
    let noticed = (0..2_000).any(|seed| {
        let mut random = Random::new(seed);
        let mut world = World::random(&mut random);
        world.state.shadow = 0;
        if Cpu::new(0, 2).restore(world.state.clone()).is_err() {
            return false;
        }
        let schedule = Schedule::random(&mut random);
        let whole = run(&world, &mem, &schedule, Cuts::None);
        let mut pieces = run(&world, &mem, &schedule, Cuts::Forgetting(random));
        // What the TLB holds differs in any case: it is what the guest did that counts.
        pieces.state.tlb = whole.state.tlb.clone();
        difference(&whole, &pieces).is_some()
    });
    assert!(noticed, "no world noticed that its TLB was emptied");
}
