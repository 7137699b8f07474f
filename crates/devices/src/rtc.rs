//! The MC146818 real-time clock and the CMOS memory beside it.
//!
//! Source: Motorola MC146818A datasheet (ADI856R3).
//!
//! | port | what |
//! |---|---|
//! | 0x70 | index (write only); bit 7 keeps NMIs from the processor |
//! | 0x71 | the byte of that index |
//!
//! | index | what |
//! |---|---|
//! | 0, 2, 4 | second, minute, hour |
//! | 1, 3, 5 | alarm: the same; 0xc0 and above match anything |
//! | 6..=9 | weekday (Sunday is 1), day, month, year |
//! | 0x0a..=0x0d | registers A to D |
//! | 0x0f | why the processor was reset, for firmware |
//! | 0x32 | century; kept by firmware on the first PCs, by the chip since |
//! | others | memory |
//!
//! The date is that given at construction, and goes with virtual time. The update cycle takes no time: UIP announces it for 244
//! microseconds, then the registers have changed. A date that does not exist counts on from the nearest that does. Daylight saving (DSE) and the square wave
//! are not there; their bits are kept.
//!
//! Interrupt line 8 is high while a flag of register C is set whose interrupt register B allows.

mod calendar;

use std::ops::RangeInclusive;

use crate::isa::{read_bytes, write_bytes};
use calendar::{Calendar, SECONDS_PER_DAY, day_number};

pub use saved_state::RtcStateV1;

const SECOND: i64 = 1_000_000_000;
/// How long before an update UIP is set.
const UPDATE_WARNING: i64 = 244_000;
/// The rate of the divider chain that periodic interrupts are taken from.
const DIVIDER_HZ: i64 = 32_768;

const REG_A: usize = 0x0a;
const REG_B: usize = 0x0b;
const REG_C: usize = 0x0c;
const REG_D: usize = 0x0d;
const CENTURY: usize = 0x32;
/// Registers that hold the time: those, and the century.
const TIME_REGISTERS: [usize; 8] = [0, 2, 4, 6, 7, 8, 9, CENTURY];

const A_UPDATE_IN_PROGRESS: u8 = 0x80;
const A_DIVIDER: u8 = 0x70;
/// Both of the upper bits: the divider is held in reset.
const A_DIVIDER_RESET: u8 = 0x60;
const A_RATE: u8 = 0x0f;
const B_SET: u8 = 0x80;
const B_PERIODIC: u8 = 0x40;
const B_ALARM: u8 = 0x20;
const B_UPDATE: u8 = 0x10;
const B_BINARY: u8 = 0x04;
const B_24_HOURS: u8 = 0x02;
const C_REQUEST: u8 = 0x80;
/// PF, AF and UF, in the same places as the bits of register B that allow them.
const C_FLAGS: u8 = B_PERIODIC | B_ALARM | B_UPDATE;
/// RAM and time are valid.
const D_VALID: u8 = 0x80;
/// In the hour registers, in 12-hour mode.
const AFTERNOON: u8 = 0x80;

/// The clock.
#[derive(Debug, Clone)]
pub struct Rtc {
    /// All 128 bytes. Those of the time are only looked at while SET holds it; register C is `flags`.
    ram: [u8; 128],
    index: u8,
    nmi_masked: bool,
    flags: u8,
    /// The time that was, or will be, shown from nanosecond `epoch_at` on, in seconds since 1970. It stands while SET or the divider holds it.
    epoch: i64,
    /// The beginning of a second. Negative when the divider was started within the first half second.
    epoch_at: i64,
    /// What the weekday register is ahead of the calendar, 0 to 6.
    weekday_ahead: i64,
    /// Up to when flags have been set.
    now: i64,
}

impl Rtc {
    /// Index and data.
    pub const PORTS: RangeInclusive<u16> = 0x70..=0x71;
    /// Its interrupt line.
    pub const IRQ: u8 = 8;
    /// Where the century is, for the FADT.
    pub const CENTURY: u8 = CENTURY as u8;

    /// A clock that shows `seconds` since 1970 at power-on (within the years 0 to 9999), set up as firmware does: 24 hours, BCD, no
    /// interrupts.
    pub fn new(seconds: i64) -> Self {
        let mut ram = [0; 128];
        // The 32768 Hz crystal, 1024 Hz.
        ram[REG_A] = 0x26;
        ram[REG_B] = B_24_HOURS;
        ram[REG_D] = D_VALID;
        Self {
            ram,
            index: 0,
            nmi_masked: false,
            flags: 0,
            epoch: seconds.clamp(calendar::FIRST, calendar::LAST),
            epoch_at: 0,
            weekday_ahead: 0,
            now: 0,
        }
    }

    /// Sets a byte of the memory, as firmware would: sizes of memory, equipment. The clock's own registers are left alone.
    pub fn set_memory(&mut self, index: u8, value: u8) {
        if matches!(index, 0x0e..=0x7f) && usize::from(index) != CENTURY {
            self.ram[usize::from(index)] = value;
        }
    }

    /// Level of interrupt line 8.
    pub fn irq_level(&self) -> bool {
        self.flags & self.ram[REG_B] & C_FLAGS != 0
    }

    /// Whether NMIs are kept from the processor.
    pub fn nmi_masked(&self) -> bool {
        self.nmi_masked
    }

    /// When the interrupt line may rise next.
    pub fn next_event(&self) -> Option<u64> {
        let allowed = self.ram[REG_B];
        if self.irq_level() || allowed & C_FLAGS == 0 || self.divider_held() {
            return None;
        }
        let periodic = (allowed & B_PERIODIC != 0).then(|| self.next_period(self.now)).flatten();
        let updates = allowed & B_SET == 0;
        let update = (updates && allowed & B_UPDATE != 0).then(|| self.next_second(self.now));
        let alarm = (updates && allowed & B_ALARM != 0).then(|| self.next_alarm(self.now)).flatten();
        let event = [periodic, update, alarm].into_iter().flatten().min()?;
        (event <= END_OF_TIME).then_some(event.max(0) as u64)
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: u64) {
        let now = to_signed(now);
        let before = self.now;
        if now <= before {
            return;
        }
        if !self.divider_held() {
            let passed = |event: Option<i64>| event.is_some_and(|event| event <= now);
            if passed(self.next_period(before)) {
                self.flags |= B_PERIODIC;
            }
            if self.ram[REG_B] & B_SET == 0 {
                if passed(Some(self.next_second(before))) {
                    self.flags |= B_UPDATE;
                }
                if passed(self.next_alarm(before)) {
                    self.flags |= B_ALARM;
                }
            }
        }
        self.now = now;
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        read_bytes(port, size, |port| match port {
            0x71 => self.read_register(usize::from(self.index)),
            _ => 0xff,
        })
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.advance(now);
        write_bytes(port, size, value, |port, byte| match port {
            0x70 => {
                self.index = byte & 0x7f;
                self.nmi_masked = byte & 0x80 != 0;
            }
            0x71 => self.write_register(usize::from(self.index), byte),
            _ => {}
        });
    }

    fn read_register(&mut self, index: usize) -> u8 {
        match index {
            REG_A => {
                let updates = !self.divider_held() && self.ram[REG_B] & B_SET == 0;
                let soon = self.next_second(self.now) - self.now <= UPDATE_WARNING;
                self.ram[REG_A] | if updates && soon { A_UPDATE_IN_PROGRESS } else { 0 }
            }
            REG_C => {
                let request = if self.irq_level() { C_REQUEST } else { 0 };
                request | std::mem::take(&mut self.flags)
            }
            _ if TIME_REGISTERS.contains(&index) => {
                if self.ram[REG_B] & B_SET == 0 {
                    self.show_time();
                }
                self.ram[index]
            }
            _ => self.ram[index],
        }
    }

    fn write_register(&mut self, index: usize, value: u8) {
        match index {
            REG_A => {
                let was_held = self.divider_held();
                let shown = self.seconds();
                self.ram[REG_A] = value & (A_DIVIDER | A_RATE);
                match (was_held, self.divider_held()) {
                    (false, true) if self.ram[REG_B] & B_SET == 0 => {
                        self.epoch = Calendar::from_seconds(shown).to_seconds();
                    }
                    // The first update comes half a second after the divider starts.
                    (true, false) => self.epoch_at = self.now - SECOND / 2,
                    _ => {}
                }
            }
            REG_B => {
                let was_set = self.ram[REG_B] & B_SET != 0;
                let sets = value & B_SET != 0;
                if sets && !was_set {
                    self.show_time();
                }
                // SET turns the update interrupt off.
                self.ram[REG_B] = if sets { value & !B_UPDATE } else { value };
                if was_set && !sets {
                    self.take_time();
                }
            }
            // Read-only.
            REG_C | REG_D => {}
            _ if TIME_REGISTERS.contains(&index) => {
                let held = self.ram[REG_B] & B_SET != 0;
                if !held {
                    self.show_time();
                }
                self.ram[index] = value;
                if !held {
                    self.take_time();
                }
            }
            _ => self.ram[index] = value,
        }
    }

    fn divider_held(&self) -> bool {
        self.ram[REG_A] & A_DIVIDER_RESET == A_DIVIDER_RESET
    }

    /// The time that is shown, or would be if SET did not hold it.
    fn seconds(&self) -> i64 {
        let passed = if self.divider_held() { 0 } else { (self.now - self.epoch_at).div_euclid(SECOND) };
        self.epoch.saturating_add(passed)
    }

    /// Writes the time into its registers.
    fn show_time(&mut self) {
        let seconds = self.seconds();
        let Calendar { year, month, day, hour, minute, second } = Calendar::from_seconds(seconds);
        // 1 January 1970 was a Thursday, which is 5.
        let weekday = (day_number(seconds) + 4 + self.weekday_ahead).rem_euclid(7) + 1;
        let hour = self.encode_hour(hour as u8);
        for (index, value) in [
            (0, second),
            (2, minute),
            (6, weekday),
            (7, day),
            (8, month),
            (9, year % 100),
            (CENTURY, year / 100),
        ] {
            self.ram[index] = self.encode(value as u8);
        }
        self.ram[4] = hour;
    }

    /// Takes the time from its registers.
    fn take_time(&mut self) {
        let field = |index: usize| i64::from(self.decode(self.ram[index]));
        let date = Calendar {
            year: field(CENTURY).min(99) * 100 + field(9).min(99),
            month: field(8),
            day: field(7),
            hour: self.decode_hour(self.ram[4]).into(),
            minute: field(2),
            second: field(0),
        };
        let weekday = field(6).clamp(1, 7);
        self.epoch = date.to_seconds();
        self.weekday_ahead = (weekday - 1 - 4 - day_number(self.epoch)).rem_euclid(7);
        if !self.divider_held() {
            // The second goes on that has begun.
            self.epoch_at += (self.now - self.epoch_at).div_euclid(SECOND) * SECOND;
        }
    }

    fn encode(&self, value: u8) -> u8 {
        if self.ram[REG_B] & B_BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.ram[REG_B] & B_BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0xf) }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.ram[REG_B] & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { AFTERNOON } else { 0 };
        self.encode((hour + 11) % 12 + 1) | afternoon
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.ram[REG_B] & B_24_HOURS != 0 {
            return self.decode(value);
        }
        let afternoon = if value & AFTERNOON != 0 { 12 } else { 0 };
        self.decode(value & !AFTERNOON) % 12 + afternoon
    }

    /// The first second that begins after `time`.
    fn next_second(&self, time: i64) -> i64 {
        time + SECOND - (time - self.epoch_at).rem_euclid(SECOND)
    }

    /// The first time after `time` at which the periodic flag is set. All periods divide a second, so they are counted from its beginning.
    fn next_period(&self, time: i64) -> Option<i64> {
        // Datasheet, table 5: rates 1 and 2 are those of 8 and 9.
        let ticks = match self.ram[REG_A] & A_RATE {
            0 => return None,
            rate @ 1..=2 => 1 << (rate + 6),
            rate => 1_i64 << (rate - 1),
        };
        let begin = self.next_second(time) - SECOND;
        let periods_over = (time - begin) * DIVIDER_HZ / SECOND / ticks;
        let at = |period: i64| begin + (period * ticks * SECOND + DIVIDER_HZ - 1) / DIVIDER_HZ;
        Some(at(periods_over + 1))
    }

    /// The first second after `time` that the alarm matches.
    fn next_alarm(&self, time: i64) -> Option<i64> {
        let first = self.next_second(time);
        let shown_first = self.epoch.saturating_add((first - self.epoch_at).div_euclid(SECOND));
        let shown_first = shown_first.rem_euclid(SECONDS_PER_DAY);
        let [second, minute, hour] = [1, 3, 5].map(|index| self.ram[index]);
        let second = alarm_field(second, self.decode(second), |value| self.encode(value))?;
        let minute = alarm_field(minute, self.decode(minute), |value| self.encode(value))?;
        let hour = alarm_field(hour, self.decode_hour(hour), |value| self.encode_hour(value))?;
        let wait = wait_for(shown_first, hour, minute, second)?;
        Some(first + wait * SECOND)
    }
}

/// What an alarm register that holds `register` waits for: `Some(None)` is anything, `None` what no clock ever shows.
fn alarm_field(register: u8, decoded: u8, encode: impl Fn(u8) -> u8) -> Option<Option<i64>> {
    if register >= 0xc0 {
        return Some(None);
    }
    // The chip compares bytes.
    (encode(decoded) == register).then_some(Some(decoded.into()))
}

/// How many seconds after time of day `from` an hour, minute and second come that match; 0 if `from` does.
fn wait_for(from: i64, hour: Option<i64>, minute: Option<i64>, second: Option<i64>) -> Option<i64> {
    let in_range = |field: Option<i64>, limit| field.is_none_or(|field| (0..limit).contains(&field));
    if !in_range(hour, 24) || !in_range(minute, 60) || !in_range(second, 60) {
        return None;
    }
    let matches = |field: Option<i64>, value| field.is_none_or(|field| field == value);
    let (mut h, mut m, mut s) = (from / 3600, from / 60 % 60, from % 60);
    // At most a day's hours, an hour's minutes and a minute's seconds are tried, and each but the first from its beginning.
    let mut waited = 0;
    while !matches(hour, h % 24) {
        waited += 3600 - m * 60 - s;
        (h, m, s) = (h + 1, 0, 0);
    }
    while !matches(minute, m) {
        waited += 60 - s;
        (m, s) = (m + 1, 0);
        if m == 60 {
            // Not in what is left of this hour.
            return Some(waited + wait_for((h + 1) % 24 * 3600, hour, minute, second)?);
        }
    }
    while !matches(second, s) {
        waited += 1;
        s += 1;
        if s == 60 {
            let next = (h % 24 * 3600 + (m + 1) * 60) % SECONDS_PER_DAY;
            return Some(waited + wait_for(next, hour, minute, second)?);
        }
    }
    Some(waited)
}

/// Time as far as this chip goes: 292 years.
fn to_signed(now: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX).min(END_OF_TIME)
}

/// Past this, time stands still for the chip, so that sums with it do not overflow.
const END_OF_TIME: i64 = i64::MAX / 2;

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{
        A_UPDATE_IN_PROGRESS, C_FLAGS, D_VALID, END_OF_TIME, REG_A, REG_C, REG_D, Rtc, SECOND, calendar,
    };

    /// The saved state of [`Rtc`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RtcStateV1 {
        pub(super) ram: Vec<u8>,
        pub(super) index: u8,
        pub(super) nmi_masked: bool,
        pub(super) flags: u8,
        pub(super) epoch: i64,
        pub(super) epoch_at: i64,
        pub(super) weekday_ahead: i64,
        pub(super) now: i64,
    }

    impl SavedState for RtcStateV1 {
        const KIND: &'static str = "rtc";
        const VERSION: u16 = 1;
    }

    impl Save for Rtc {
        type State = RtcStateV1;

        fn save(&self) -> RtcStateV1 {
            let &Self { ram, index, nmi_masked, flags, epoch, epoch_at, weekday_ahead, now } = self;
            RtcStateV1 { ram: ram.to_vec(), index, nmi_masked, flags, epoch, epoch_at, weekday_ahead, now }
        }
    }

    impl Restore for Rtc {
        fn restore(&mut self, state: RtcStateV1) -> Result<(), RestoreError> {
            let RtcStateV1 { ram, index, nmi_masked, flags, epoch, epoch_at, weekday_ahead, now } = state;
            let invalid = |field, reason: &str| RestoreError::invalid::<RtcStateV1>(field, reason);
            let ram: [u8; 128] = ram.try_into().map_err(|_| invalid("ram", "has not 128 bytes"))?;
            if ram[REG_A] & A_UPDATE_IN_PROGRESS != 0 || ram[REG_C] != 0 || ram[REG_D] != D_VALID {
                return Err(invalid("ram", "has bits in registers A, C or D that are not kept there"));
            }
            if index > 0x7f {
                return Err(invalid("index", "is above 0x7f"));
            }
            if flags & !C_FLAGS != 0 {
                return Err(invalid("flags", "has reserved bits set"));
            }
            if !(calendar::FIRST..=calendar::LAST).contains(&epoch) {
                return Err(invalid("epoch", "is not within the years 0 to 9999"));
            }
            if !(0..=END_OF_TIME).contains(&now) {
                return Err(invalid("now", "is negative or past the end of time"));
            }
            if !(-SECOND..=now).contains(&epoch_at) {
                return Err(invalid("epoch_at", "is not between power-on and now"));
            }
            if !(0..7).contains(&weekday_ahead) {
                return Err(invalid("weekday_ahead", "is not 0 to 6"));
            }
            *self = Self { ram, index, nmi_masked, flags, epoch, epoch_at, weekday_ahead, now };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
