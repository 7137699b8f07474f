use ::saved_state::{Restore, Save};

use super::saved_state::RtcStateV1;
use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;
/// Saturday 2025-03-01 22:59:58.
const START: i64 = 1_740_869_998;

fn get(rtc: &mut Rtc, index: u32, now: u64) -> u32 {
    rtc.write(0x70, 1, index, now);
    rtc.read(0x71, 1, now)
}

fn set(rtc: &mut Rtc, index: u32, value: u32, now: u64) {
    rtc.write(0x70, 1, index, now);
    rtc.write(0x71, 1, value, now);
}

/// Century, year, month, day, weekday, hour, minute, second.
fn shown(rtc: &mut Rtc, now: u64) -> [u32; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| get(rtc, index, now))
}

#[test]
fn the_time_in_every_format() {
    // Register B, time of day, what the registers show.
    for (b, time, expected) in [
        (0x02, 0, [0x20, 0x25, 0x03, 0x01, 7, 0x22, 0x59, 0x58]),
        (0x06, 0, [20, 25, 3, 1, 7, 22, 59, 58]),
        (0x00, 0, [0x20, 0x25, 0x03, 0x01, 7, 0x90, 0x59, 0x58]),
        (0x04, 0, [20, 25, 3, 1, 7, 0x8a, 59, 58]),
        (0x00, 2, [0x20, 0x25, 0x03, 0x01, 7, 0x91, 0x00, 0x00]),
        (0x00, 3602, [0x20, 0x25, 0x03, 0x02, 1, 0x12, 0x00, 0x00]),
        (0x00, 12 * 3600 + 3602, [0x20, 0x25, 0x03, 0x02, 1, 0x92, 0x00, 0x00]),
    ] {
        let mut rtc = Rtc::new(START);
        set(&mut rtc, 0x0b, b, 0);
        assert_eq!(shown(&mut rtc, time * S), expected, "register B {b:#x} after {time} s");
        // What is shown means the same when it is written.
        for (index, value) in [0x32, 9, 8, 7, 6, 4, 2, 0].into_iter().zip(expected) {
            set(&mut rtc, index, value, time * S);
        }
        assert_eq!(shown(&mut rtc, time * S), expected, "register B {b:#x}, written");
        assert_eq!(rtc.seconds(), START + time as i64);
    }
}

#[test]
fn registers_at_power_on() {
    let mut rtc = Rtc::new(START);
    for (index, expected) in [(0x0a, 0x26), (0x0b, 0x02), (0x0c, 0), (0x0d, 0x80), (0x0f, 0), (0x40, 0)] {
        assert_eq!(get(&mut rtc, index, 0), expected, "index {index:#x}");
    }
    assert_eq!(rtc.read(0x70, 1, 0), 0xff, "the index is write-only");
    assert_eq!(rtc.read(0x71, 2, 0), 0xff00);
    assert_eq!(rtc.next_event(), None);
}

#[test]
fn what_registers_keep() {
    for (index, written, read) in [
        (0x0a, 0xff, 0x7f),
        (0x0b, 0x7f, 0x7f),
        (0x0b, 0xff, 0xef), // SET turns the update interrupt off
        (0x0c, 0xff, 0x00),
        (0x0d, 0x00, 0x80),
        (0x0f, 0x0a, 0x0a),
        (0x7f, 0x5a, 0x5a),
        (0x01, 0xc3, 0xc3),
    ] {
        let mut rtc = Rtc::new(START);
        set(&mut rtc, index, written, 0);
        assert_eq!(get(&mut rtc, index, 0), read, "index {index:#x}");
    }
    let mut rtc = Rtc::new(START);
    for index in 0..=255 {
        rtc.set_memory(index, 0x77);
    }
    assert_eq!((get(&mut rtc, 0x15, 0), get(&mut rtc, 0x0b, 0), get(&mut rtc, 0x32, 0)), (0x77, 2, 0x20));
}

#[test]
fn bit_7_of_the_index_masks_nmis() {
    let mut rtc = Rtc::new(START);
    rtc.write(0x70, 1, 0x8a, 0);
    assert!(rtc.nmi_masked());
    assert_eq!(rtc.read(0x71, 1, 0), 0x26);
    rtc.write(0x70, 1, 0x0a, 0);
    assert!(!rtc.nmi_masked());
}

#[test]
fn update_in_progress_announces_the_second() {
    let mut rtc = Rtc::new(START);
    for (now, expected) in
        [(0, 0x26), (S - 244_001, 0x26), (S - 244_000, 0xa6), (S - 1, 0xa6), (S, 0x26), (2 * S - 1, 0xa6)]
    {
        assert_eq!(get(&mut rtc, 0x0a, now), expected, "at {now}");
    }
    set(&mut rtc, 0x0b, 0x82, 3 * S);
    assert_eq!(get(&mut rtc, 0x0a, 4 * S - 1), 0x26, "not while SET");
}

#[test]
fn set_holds_the_time() {
    let mut rtc = Rtc::new(START);
    set(&mut rtc, 0x0b, 0x82, S / 4);
    assert_eq!(get(&mut rtc, 0, 5 * S), 0x58);
    set(&mut rtc, 0, 0x10, 5 * S);
    set(&mut rtc, 7, 0x31, 5 * S);
    set(&mut rtc, 8, 0x02, 5 * S);
    assert_eq!(get(&mut rtc, 7, 5 * S), 0x31, "while held, registers are memory");
    set(&mut rtc, 0x0b, 0x02, 5 * S + S / 2);
    assert_eq!(shown(&mut rtc, 6 * S - 1)[1..4], [0x25, 0x02, 0x28], "the nearest date there is");
    assert_eq!(get(&mut rtc, 0, 6 * S - 1), 0x10);
    assert_eq!(get(&mut rtc, 0, 6 * S), 0x11, "the seconds kept their beat");
}

#[test]
fn the_divider_starts_with_half_a_second() {
    // As Linux sets the clock: SET, divider reset, time, SET off, divider on.
    let mut rtc = Rtc::new(START);
    let now = 10 * S + 123;
    for (index, value) in [(0x0b, 0x82), (0x0a, 0x76), (0, 0x30), (2, 0), (4, 0x12), (0x0b, 0x02)] {
        set(&mut rtc, index, value, now);
    }
    assert_eq!(get(&mut rtc, 0, now + 9 * S), 0x30, "the divider is held");
    let now = now + 9 * S;
    set(&mut rtc, 0x0a, 0x26, now);
    assert_eq!(get(&mut rtc, 0, now + S / 2 - 1), 0x30);
    assert_eq!(get(&mut rtc, 0, now + S / 2), 0x31);
    assert_eq!(get(&mut rtc, 0, now + 3 * S / 2), 0x32);
    set(&mut rtc, 0x0a, 0x66, now + 2 * S);
    assert_eq!(get(&mut rtc, 0, now + 5 * S), 0x32, "held without SET");
}

#[test]
fn the_weekday_goes_its_own_way() {
    let mut rtc = Rtc::new(START);
    set(&mut rtc, 6, 3, 0);
    assert_eq!(get(&mut rtc, 6, 0), 3);
    assert_eq!(get(&mut rtc, 6, 86_400 * S), 4);
    assert_eq!(get(&mut rtc, 6, 5 * 86_400 * S), 1);
}

#[test]
fn periodic_rates() {
    // Rate and how many come in a second (datasheet, table 5).
    for (rate, hertz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (10, 64), (15, 2)] {
        let mut rtc = Rtc::new(START);
        set(&mut rtc, 0x0a, 0x20 | rate, 0);
        set(&mut rtc, 0x0b, 0x42, 0);
        let mut times = Vec::new();
        while let Some(event) = rtc.next_event().filter(|&event| event <= 2 * S) {
            rtc.advance(event - 1);
            assert!(!rtc.irq_level());
            rtc.advance(event);
            assert!(rtc.irq_level());
            assert_eq!(rtc.next_event(), None, "high until register C is read");
            times.push(event);
            assert_eq!(get(&mut rtc, 0x0c, event) & 0xc0, 0xc0);
            assert!(!rtc.irq_level());
        }
        assert_eq!(times.len(), 2 * hertz, "rate {rate}");
        assert_eq!(times[hertz - 1], S, "rate {rate} does not drift");
    }
    let mut rtc = Rtc::new(START);
    set(&mut rtc, 0x0a, 0x20, 0);
    set(&mut rtc, 0x0b, 0x42, 0);
    assert_eq!(rtc.next_event(), None, "rate 0 is off");
}

#[test]
fn updates_interrupt_every_second() {
    let mut rtc = Rtc::new(START);
    set(&mut rtc, 0x0b, 0x12, S / 2);
    assert_eq!(rtc.next_event(), Some(S));
    assert_eq!(get(&mut rtc, 0x0c, S), 0xd0, "the periodic flag is set too, without asking");
    assert_eq!(get(&mut rtc, 0x0c, S), 0x00);
    assert_eq!(rtc.next_event(), Some(2 * S));
}

#[test]
fn alarms() {
    // Alarm hour, minute, second; register B besides AIE; seconds until it matches after 22:59:58.
    for (hour, minute, second, b, wait) in [
        (0x22, 0x59, 0x59, 0x02, Some(1)),
        (0x23, 0x00, 0x00, 0x02, Some(2)),
        (0x22, 0x59, 0x58, 0x02, Some(86_400)),
        (0x22, 0x59, 0x57, 0x02, Some(86_399)),
        (0x22, 0x58, 0x59, 0x02, Some(86_341)),
        (0xff, 0xff, 0xff, 0x02, Some(1)),
        (0xff, 0xff, 0x30, 0x02, Some(32)),
        (0xff, 0x59, 0x57, 0x02, Some(3599)),
        (0xff, 0x10, 0xc0, 0x02, Some(602)),
        (0x01, 0xff, 0xff, 0x02, Some(7202)),
        (0x00, 0x00, 0xff, 0x02, Some(3602)),
        (0x22, 0xff, 0x57, 0x02, Some(82_859)),
        (7, 59, 58, 0x06, Some(9 * 3600)),
        (0x91, 0x00, 0x00, 0x00, Some(2)),
        (0x12, 0x00, 0x00, 0x00, Some(3602)),
        (0x24, 0x00, 0x00, 0x02, None),
        (0x00, 0x60, 0x00, 0x02, None),
        (0x00, 0x00, 0x0f, 0x02, None), // never shown in BCD
        (0x13, 0x00, 0x00, 0x00, None),
    ] {
        let mut rtc = Rtc::new(START);
        for (index, value) in [(1, second), (3, minute), (5, hour), (0x0b, 0x20 | b)] {
            set(&mut rtc, index, value, 0);
        }
        assert_eq!(rtc.next_event(), wait.map(|wait| wait * S), "{hour:#x}:{minute:#x}:{second:#x}");
        let mut jumping = rtc.clone();
        jumping.advance(100_000 * S);
        assert_eq!(jumping.irq_level(), wait.is_some(), "a jump does not miss it");
        if let Some(wait) = wait {
            rtc.advance(wait * S - 1);
            assert!(!rtc.irq_level());
            rtc.advance(wait * S);
            assert!(rtc.irq_level());
            assert_eq!(get(&mut rtc, 0x0c, wait * S) & 0xa0, 0xa0);
        }
    }
}

#[test]
fn the_next_alarm_is_the_first_of_all() {
    // Every combination of fields against a search second by second.
    for from in [0, 59, 3599, 3600, 45_296, 86_399] {
        for hour in [None, Some(0), Some(12), Some(23)] {
            for minute in [None, Some(0), Some(34), Some(59)] {
                for second in [None, Some(0), Some(56), Some(59)] {
                    let matches = |time: i64| {
                        let shown = [time / 3600 % 24, time / 60 % 60, time % 60];
                        let alarm = [hour, minute, second];
                        shown.iter().zip(alarm).all(|(shown, field)| field.is_none_or(|f| f == *shown))
                    };
                    let expected = (0..86_400).find(|wait| matches(from + wait));
                    assert_eq!(wait_for(from, hour, minute, second), expected);
                }
            }
        }
    }
}

#[test]
fn flags_wait_for_their_interrupt_to_be_allowed() {
    let mut rtc = Rtc::new(START);
    rtc.advance(S);
    assert!(!rtc.irq_level());
    set(&mut rtc, 0x0b, 0x12, S);
    assert!(rtc.irq_level());
}

#[test]
fn time_ends_without_an_overflow() {
    let mut rtc = Rtc::new(calendar::LAST);
    set(&mut rtc, 0x0b, 0x72, 0);
    for now in [u64::MAX / 4, u64::MAX / 2, u64::MAX] {
        rtc.advance(now);
        get(&mut rtc, 0x0c, now);
        shown(&mut rtc, now);
        set(&mut rtc, 0x0a, 0x60, now);
        set(&mut rtc, 0x0a, 0x26, now);
        let state = rtc.save();
        rtc.restore(state).unwrap();
    }
    assert_eq!(rtc.next_event(), None);
}

fn unique() -> RtcStateV1 {
    let mut ram: Vec<u8> = (0..128).map(|n| n ^ 0x55).collect();
    (ram[0x0a], ram[0x0c], ram[0x0d]) = (0x7f, 0, 0x80);
    RtcStateV1 {
        ram,
        index: 0x33,
        nmi_masked: true,
        flags: 0x50,
        epoch: 1_234_567_890,
        epoch_at: -7,
        weekday_ahead: 4,
        now: 1 << 50,
    }
}

#[test]
fn every_field_is_saved() {
    for nmi_masked in [false, true] {
        let state = RtcStateV1 { nmi_masked, ..unique() };
        let mut rtc = Rtc::new(0);
        rtc.restore(state.clone()).unwrap();
        assert_eq!(rtc.save(), state);
    }
}

#[test]
fn impossible_states_are_refused() {
    let spoil: [fn(&mut RtcStateV1); 11] = [
        |state| state.ram.truncate(127),
        |state| state.ram[0x0a] = 0x80,
        |state| state.ram[0x0c] = 1,
        |state| state.ram[0x0d] = 0,
        |state| state.index = 0x80,
        |state| state.flags = 1,
        |state| state.epoch = i64::MAX,
        |state| state.epoch_at = state.now + 1,
        |state| state.epoch_at = i64::MIN,
        |state| state.now = -1,
        |state| state.weekday_ahead = 7,
    ];
    for spoil in spoil {
        let mut state = unique();
        spoil(&mut state);
        let mut rtc = Rtc::new(START);
        let before = rtc.save();
        rtc.restore(state).unwrap_err();
        assert_eq!(rtc.save(), before);
    }
}

#[test]
fn a_guest_cannot_break_it() {
    let mut rtc = Rtc::new(START);
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut now = 0;
    for _ in 0..200_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        now += random >> 16 & 0x3fff_ffff;
        let index = (random >> 8) as u32 & 0x3f;
        if random & 1 == 0 {
            get(&mut rtc, index, now);
        } else {
            set(&mut rtc, index, (random >> 32) as u32 & 0xff, now);
        }
        assert!(rtc.next_event().is_none_or(|event| event > now));
        if random >> 60 == 0 {
            let state = rtc.save();
            rtc.restore(state).unwrap();
        }
    }
}
