use ::saved_state::{Restore, Save};

use super::counter::{CounterV1, NextV1, RunV1};
use super::*;

/// The nanosecond at which tick `tick` begins.
fn at(tick: u64) -> u64 {
    Clock::PIT.time_of(tick)
}

/// Programs counter 0 at tick 0; its first load is at tick 1.
fn programmed(control: u32, count: u32) -> Pit {
    let mut pit = Pit::new();
    pit.write(0x43, 1, control, 0);
    pit.write(0x40, 1, count & 0xff, 0);
    if control & 0x30 == 0x30 {
        pit.write(0x40, 1, count >> 8, 0);
    }
    pit
}

/// Output 0 at ticks 1 to `n`, as a row of 0 and 1.
fn wave(pit: &mut Pit, n: u64) -> String {
    let mut level = |tick| {
        pit.advance(at(tick));
        if pit.irq_level() { '1' } else { '0' }
    };
    (1..=n).map(&mut level).collect()
}

/// The same through counter 2, whose gate rises at tick 0 and falls and rises again as `gates` say.
fn wave_2(control: u32, count: u32, gates: &[(u64, u32)], n: u64) -> String {
    let mut pit = Pit::new();
    pit.write(0x43, 1, 0x80 | control, 0);
    pit.write(0x42, 1, count, 0);
    let mut level = |tick| {
        let out = pit.read(0x61, 1, at(tick)) >> 5 & 1;
        if let Some(&(_, gate)) = gates.iter().find(|(when, _)| *when == tick) {
            pit.write(0x61, 1, gate, at(tick));
        }
        if out == 1 { '1' } else { '0' }
    };
    (0..=n).map(&mut level).collect()
}

fn count(pit: &mut Pit, tick: u64) -> u32 {
    pit.write(0x43, 1, 0, at(tick));
    pit.read(0x40, 1, at(tick)) | pit.read(0x40, 1, at(tick)) << 8
}

#[test]
fn waves_of_counter_0() {
    // Control word, count, the output from tick 1 (datasheet, figures 15 to 20).
    for (control, count, expected) in [
        (0x30, 4, "0000111111"),
        (0x30, 1, "0111111111"),
        (0x34, 3, "1101101101"),
        (0x34, 2, "1010101010"),
        (0x3c, 3, "1101101101"), // mode 6 is mode 2
        (0x36, 4, "1100110011"),
        (0x36, 5, "1110011100"),
        (0x36, 2, "1010101010"),
        (0x3e, 4, "1100110011"), // mode 7 is mode 3
        (0x38, 3, "1110111111"),
        (0x32, 3, "1111111111"), // mode 1 without a trigger
        (0x3a, 3, "1111111111"), // mode 5 without a trigger
    ] {
        let mut pit = programmed(control, count);
        assert_eq!(wave(&mut pit, 10), expected, "control {control:#x} count {count}");
    }
}

#[test]
fn waves_of_counter_2_under_its_gate() {
    // Control word, count, gate changes, output from tick 0.
    type Gates = &'static [(u64, u32)];
    let cases: &[(u32, u32, Gates, &str)] = &[
        (0x10, 3, &[(0, 1)], "0001111111"), // the count is loaded before the gate rises
        (0x10, 3, &[(0, 1), (2, 0), (5, 1)], "0000001111"), // three ticks longer
        (0x12, 3, &[(0, 1)], "1000111111"),
        (0x12, 3, &[(0, 1), (1, 0), (2, 1)], "1000001111"), // triggered again
        (0x14, 3, &[(0, 1)], "1110110110"),
        (0x14, 3, &[(0, 1), (3, 0), (5, 1)], "1110111101"), // stopped when low: high at once
        (0x16, 4, &[(0, 1)], "1110011001"),
        (0x16, 4, &[(0, 1), (3, 0), (5, 1)], "1110111100"),
        (0x18, 3, &[(0, 1)], "1110111111"),
        (0x18, 3, &[(0, 1), (2, 0), (4, 1)], "1111101111"),
        (0x1a, 3, &[(0, 1)], "1111011111"),
        (0x1a, 3, &[(0, 1), (2, 0), (3, 1)], "1111111011"),
    ];
    for (control, count, gates, expected) in cases {
        assert_eq!(wave_2(*control, *count, gates, 9), *expected, "{control:#x} {gates:?}");
    }
}

#[test]
fn counts_by_mode() {
    // Control word, count, and what it reads from tick 1.
    for (control, written, expected) in [
        (0x30, 3, [3, 2, 1, 0, 0xffff, 0xfffe]),
        (0x34, 3, [3, 2, 1, 3, 2, 1]),
        (0x36, 4, [4, 2, 4, 2, 4, 2]),
        (0x36, 5, [4, 2, 0, 4, 2, 4]),
        (0x38, 2, [2, 1, 0, 0xffff, 0xfffe, 0xfffd]),
        (0x30, 0, [0, 0xffff, 0xfffe, 0xfffd, 0xfffc, 0xfffb]),
        (0x31, 0x1001, [0x1001, 0x1000, 0x0999, 0x0998, 0x0997, 0x0996]),
        (0x31, 0, [0, 0x9999, 0x9998, 0x9997, 0x9996, 0x9995]),
        (0x35, 0x0011, [0x11, 0x10, 0x09, 0x08, 0x07, 0x06]),
    ] {
        let mut pit = programmed(control, written);
        for (tick, expected) in (1..).zip(expected) {
            assert_eq!(
                count(&mut pit, tick),
                expected,
                "control {control:#x} count {written:#x} tick {tick}"
            );
        }
    }
}

#[test]
fn full_periods() {
    for (control, count, ticks) in
        [(0x34, 0, 65536), (0x34, 1193, 1193), (0x35, 0, 10_000), (0x35, 0x1234, 1234)]
    {
        let mut pit = programmed(control, count);
        let mut rises = Vec::new();
        let mut was = pit.irq_level();
        while rises.len() < 3 {
            pit.advance(pit.next_event().unwrap());
            if pit.irq_level() && !was {
                rises.push(pit.tick);
            }
            was = pit.irq_level();
        }
        assert_eq!(rises, [1 + ticks, 1 + 2 * ticks, 1 + 3 * ticks], "{control:#x} {count:#x}");
    }
}

#[test]
fn every_edge_is_an_event_and_events_end() {
    for (control, count) in [(0x30, 5), (0x34, 3), (0x34, 2), (0x36, 4), (0x36, 5), (0x38, 3)] {
        let mut by_tick = programmed(control, count);
        let mut by_event = by_tick.clone();
        let mut was = by_tick.irq_level();
        for tick in 1..50 {
            while by_event.next_event().is_some_and(|event| event <= at(tick)) {
                by_event.advance(by_event.next_event().unwrap());
                if by_event.irq_level() != was {
                    assert_eq!(by_event.tick, tick, "{control:#x}");
                }
            }
            by_tick.advance(at(tick));
            was = by_tick.irq_level();
            assert_eq!(by_event.irq_level(), was, "{control:#x} {count} tick {tick}");
        }
        let periodic = matches!(control, 0x34 | 0x36);
        assert_eq!(by_event.next_event().is_some(), periodic, "{control:#x}");
    }
    assert_eq!(programmed(0x34, 1).next_event().map(|event| event > 0), Some(true));
    let mut pit = programmed(0x34, 1);
    pit.advance(at(5));
    assert_eq!(pit.next_event(), None, "a count of one has no edges");
    assert_eq!(Pit::new().next_event(), None);
}

#[test]
fn a_new_count_waits_for_the_end_of_the_period() {
    // Control word, old and new count, tick of the write, output from tick 1.
    for (control, old, new, when, expected) in [
        (0x14, 4, 3, 2, "1110110110"),
        (0x16, 4, 6, 1, "1100011100"), // in the high half: the low half is of the new one
        (0x16, 4, 6, 3, "1100111000"), // in the low half
        (0x18, 4, 3, 2, "1111101111"), // mode 4 starts again at once
        (0x10, 4, 3, 2, "0000011111"), // so does mode 0
        (0x10, 1, 3, 4, "0111000111"), // and its output falls again
    ] {
        let mut pit = programmed(control, old);
        let mut level = |tick| {
            pit.advance(at(tick));
            let out = pit.irq_level();
            if tick == when {
                pit.write(0x40, 1, new, at(tick));
            }
            if out { '1' } else { '0' }
        };
        let row: String = (1..=10).map(&mut level).collect();
        assert_eq!(row, expected, "{control:#x}: {old}, {new} at {when}");
    }
}

#[test]
fn the_first_byte_of_a_count_stops_mode_0() {
    let mut pit = programmed(0x30, 2);
    pit.advance(at(10));
    assert!(pit.irq_level());
    pit.write(0x40, 1, 3, at(10));
    assert!(!pit.irq_level());
    pit.advance(at(100));
    assert!(!pit.irq_level());
    pit.write(0x40, 1, 0, at(100));
    pit.advance(at(103));
    assert!(!pit.irq_level());
    pit.advance(at(104));
    assert!(pit.irq_level());
}

#[test]
fn access_modes() {
    for (control, writes, reads) in [
        (0x10, &[0x12][..], [0x12, 0x12]),
        (0x20, &[0x12], [0x00, 0x12]),
        (0x30, &[0x34, 0x12], [0x34, 0x12]),
    ] {
        let mut pit = Pit::new();
        pit.write(0x43, 1, control, 0);
        for write in writes {
            pit.write(0x40, 1, *write, 0);
        }
        let now = at(1);
        if control == 0x20 {
            assert_eq!(pit.read(0x40, 1, now), 0x12, "the high byte");
        } else {
            assert_eq!([pit.read(0x40, 1, now), pit.read(0x40, 1, now)], reads, "{control:#x}");
        }
    }
    let mut pit = programmed(0x30, 0x1234);
    assert_eq!(pit.read(0x40, 2, at(1)), 0x0034, "a word read at 0x40 goes on at 0x41");
}

#[test]
fn latches_hold_until_read() {
    let mut pit = programmed(0x34, 1000);
    pit.write(0x43, 1, 0x00, at(1));
    pit.write(0x43, 1, 0x00, at(50)); // ignored
    let mut read = |tick| pit.read(0x40, 1, at(tick));
    assert_eq!([read(60), read(70)], [1000 & 0xff, 1000 >> 8]);
    assert_eq!(read(101), 900 & 0xff, "then it follows the count again");
    assert_eq!(read(101), 900 >> 8);
}

#[test]
fn read_back() {
    let mut pit = programmed(0x34, 0x0302);
    // Before the load: output high, null count, both bytes, mode 2.
    pit.write(0x43, 1, 0xe2, 0);
    assert_eq!(pit.read(0x40, 1, 0), 0xf4);
    pit.write(0x43, 1, 0xc2, at(1)); // status and count: the status comes first
    assert_eq!([(); 3].map(|()| pit.read(0x40, 1, at(9))), [0xb4, 0x02, 0x03]);
    // Only counters that are chosen are latched, and a status can be of counter 2.
    pit.write(0x43, 1, 0x80 | 0x1b, at(10));
    pit.write(0x43, 1, 0xe8, at(10));
    assert_eq!(pit.read(0x42, 1, at(10)), 0xdb, "mode 5, BCD, low byte, null");
    assert_ne!(pit.read(0x40, 1, at(10)), 0xf4);
    // A count that waits for the end of a period is null.
    let mut pit = programmed(0x14, 10);
    pit.write(0x40, 1, 20, at(5));
    pit.write(0x43, 1, 0xe2, at(6));
    assert_eq!(pit.read(0x40, 1, at(6)), 0xd4);
    pit.write(0x43, 1, 0xe2, at(12));
    assert_eq!(pit.read(0x40, 1, at(12)), 0x94);
}

#[test]
fn port_61() {
    let mut pit = Pit::new();
    pit.write(0x61, 1, 0xff, 0);
    assert_eq!(pit.read(0x61, 1, 0), 0x0f);
    assert_eq!(pit.read(0x61, 1, at(18)), 0x1f, "refresh");
    assert_eq!(pit.read(0x61, 1, at(36)), 0x0f);
    pit.write(0x43, 1, 0xb6, at(36));
    assert_eq!(pit.read(0x61, 1, at(36)), 0x2f, "output of counter 2");
    assert!(pit.speaker());
    pit.write(0x61, 1, 1, at(36));
    assert!(!pit.speaker());
    assert_eq!(pit.read(0x43, 1, 0), 0xff, "the control word is write only");
}

#[test]
fn linux_calibrates_with_counter_2() {
    // Gate on, mode 0, 50 ms: the output rises when they are over.
    let mut pit = Pit::new();
    pit.write(0x61, 1, 1, 0);
    pit.write(0x43, 1, 0xb0, 0);
    pit.write(0x42, 1, 59659 & 0xff, 0);
    pit.write(0x42, 1, 59659 >> 8, 0);
    assert_eq!(pit.read(0x61, 1, 49_990_000) & 0x20, 0);
    assert_eq!(pit.read(0x61, 1, 50_010_000) & 0x20, 0x20);
}

#[test]
fn time_that_goes_back_does_nothing() {
    let mut pit = programmed(0x34, 100);
    pit.advance(at(1000));
    let state = pit.save();
    pit.advance(at(5));
    assert_eq!(pit.save(), state);
}

fn counter(n: u8, on: bool, run: RunV1) -> CounterV1 {
    CounterV1 {
        mode: 1 + n,
        bcd: on,
        access: 1 + n,
        gate: !on,
        count_register: 0x1111 + u16::from(n),
        unloaded: on,
        written: !on,
        low_byte: Some(0x20 + n),
        high_next: on,
        latched_count: Some(0x2222 + u16::from(n)),
        latched_status: Some(0x30 + n),
        run,
        rest_out: !on,
        rest_count: 0x3333 + u16::from(n),
        next: Some(NextV1 { length: 0x4444 + u32::from(n), at: -0x5555 - i64::from(n) }),
    }
}

#[test]
fn every_field_is_saved() {
    for on in [false, true] {
        let state = PitStateV1 {
            counters: [
                counter(0, on, RunV1::Idle),
                counter(1, !on, RunV1::Counting { start: -77, length: 88 }),
                counter(2, on, RunV1::Held { elapsed: 99, length: 111 }),
            ],
            port_61: 9,
            tick: 1 << 40,
        };
        let mut pit = Pit::new();
        pit.restore(state.clone()).unwrap();
        assert_eq!(pit.save(), state);
    }
}

#[test]
fn impossible_states_are_refused() {
    let spoil: [fn(&mut PitStateV1); 8] = [
        |state| state.port_61 = 0x10,
        |state| state.tick = u64::MAX,
        |state| state.counters[0].mode = 6,
        |state| state.counters[1].access = 0,
        |state| state.counters[2].access = 4,
        |state| state.counters[0].run = RunV1::Counting { start: i64::MIN, length: 1 },
        |state| state.counters[0].run = RunV1::Held { elapsed: 0, length: 0 },
        |state| state.counters[0].next = Some(NextV1 { length: 0x1_0001, at: 0 }),
    ];
    for spoil in spoil {
        let mut state = Pit::new().save();
        spoil(&mut state);
        let mut pit = programmed(0x34, 5);
        let before = pit.save();
        pit.restore(state).unwrap_err();
        assert_eq!(pit.save(), before);
    }
}

#[test]
fn a_guest_cannot_break_it() {
    let mut pit = Pit::new();
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut now = 0;
    for _ in 0..200_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let port = [0x40, 0x41, 0x42, 0x43, 0x61][(random >> 8) as usize % 5];
        now += random >> 16 & 0xffff;
        if random & 1 == 0 {
            pit.read(port, 1, now);
        } else {
            pit.write(port, 1 << (random >> 2 & 1), (random >> 32) as u32, now);
        }
        assert!(pit.next_event().is_none_or(|event| event > now));
        if random >> 60 == 0 {
            let state = pit.save();
            pit.restore(state).unwrap();
        }
    }
    pit.advance(u64::MAX);
    pit.next_event();
}
