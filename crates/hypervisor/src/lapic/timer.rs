//! The timer: one-shot, periodic, TSC-deadline (SDM 3A 12.5.4).
//!
//! The count modes count the crystal, divided. Nothing ticks: an armed countdown is the moment it began and the count it began with, and everything else
//! is integer arithmetic on absolute time. [`Lapic::advance`] to a moment gives the same state however many steps it takes to get there.

use super::registers::*;
use super::{Effects, Lapic, Now};

/// What the count modes count, before division: the crystal of CPUID leaf 15H.
pub const CRYSTAL_HZ: u64 = 25_000_000;

const CRYSTAL_NS: u64 = 1_000_000_000 / CRYSTAL_HZ;

/// Timer mode, bits 18:17 of LVT timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
    Reserved,
}

impl TimerMode {
    const fn of(entry: u32) -> Self {
        match entry >> TIMER_MODE_SHIFT & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    const fn counts(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

/// A count on its way to zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Countdown {
    /// When it began.
    pub(super) start_ns: u64,
    /// What it began with; not zero.
    pub(super) count: u32,
}

impl Countdown {
    const fn expiry(self, tick_ns: u64) -> u64 {
        self.start_ns.saturating_add(self.count as u64 * tick_ns)
    }

    const fn remaining(self, now_ns: u64, tick_ns: u64) -> u32 {
        let elapsed = now_ns.saturating_sub(self.start_ns) / tick_ns;
        // The difference fits: it is at most `count`.
        (self.count as u64).saturating_sub(elapsed) as u32
    }
}

/// The part of the timer that is not in the register page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Timer {
    /// The count modes are armed.
    pub(super) countdown: Option<Countdown>,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    pub(super) deadline: u64,
}

impl Lapic {
    fn timer_mode(&self) -> TimerMode {
        TimerMode::of(self.registers.get(LVT_TIMER))
    }

    /// Nanoseconds between two counts (SDM 3A figure 12-10): bits 3, 1 and 0 are the divisor's logarithm less one, modulo 8.
    fn tick_ns(&self) -> u64 {
        let divide = self.registers.get(DIVIDE);
        let log2 = ((divide & 3 | divide >> 1 & 4) + 1) & 7;
        CRYSTAL_NS << log2
    }

    /// Lets the timer come to `now`: what expired until then is requested. Call it when the moment that [`Lapic::next_event`] gave has come, and before
    /// the guest's TSC is set; reads and writes of the timer's registers call it themselves.
    pub fn advance(&mut self, now: Now) {
        if self.timer.deadline != 0 && now.tsc >= self.timer.deadline {
            // SDM 3A 12.5.4.1: it disarms itself.
            self.timer.deadline = 0;
            self.raise_vectored(LVT_TIMER);
        }
        let Some(countdown) = self.timer.countdown else {
            return;
        };
        let tick_ns = self.tick_ns();
        let expiry = countdown.expiry(tick_ns);
        if now.ns < expiry {
            return;
        }
        self.timer.countdown = None;
        if self.timer_mode() == TimerMode::Periodic {
            let count = self.registers.get(INITIAL_COUNT);
            // Periods that have passed whole merge into one request; IRR has one bit for them anyway.
            let passed = (now.ns - expiry).checked_div(u64::from(count) * tick_ns);
            self.timer.countdown = passed
                .map(|passed| Countdown { start_ns: expiry + passed * u64::from(count) * tick_ns, count });
        }
        self.raise_vectored(LVT_TIMER);
    }

    /// When the run loop must call [`Lapic::advance`] next, in virtual nanoseconds. Valid until a write says that it changed, or the guest's TSC is set.
    pub fn next_event(&self, now: Now) -> Option<u64> {
        if self.timer.deadline != 0 {
            return Some(now.ns.saturating_add(self.timer.deadline.saturating_sub(now.tsc)));
        }
        // A masked countdown can catch up later: it requests nothing.
        let masked = self.registers.get(LVT_TIMER) & LVT_MASKED != 0;
        self.timer.countdown.filter(|_| !masked).map(|countdown| countdown.expiry(self.tick_ns()))
    }

    /// LVT timer was written. To and from TSC-deadline mode (and the reserved one) the timer is disarmed (SDM 3A 12.5.4.1). Between one-shot and
    /// periodic it goes on counting: the exception named in the module's page.
    pub(super) fn timer_mode_changed(&mut self, old: u32, new: u32) {
        let (old, new) = (TimerMode::of(old), TimerMode::of(new));
        if old != new && !(old.counts() && new.counts()) {
            self.timer = Timer::default();
            self.registers.set(INITIAL_COUNT, 0);
        }
    }

    /// A write to the initial count arms or, with 0, disarms. In TSC-deadline mode it is ignored.
    pub(super) fn set_initial_count(&mut self, count: u32, now: Now) -> Effects {
        self.advance(now);
        if !self.timer_mode().counts() {
            return Effects::NONE;
        }
        self.registers.set(INITIAL_COUNT, count);
        self.timer.countdown = (count != 0).then_some(Countdown { start_ns: now.ns, count });
        Effects { timer_changed: true, ..Effects::NONE }
    }

    /// The current count: 0 when disarmed, and always in TSC-deadline mode.
    pub(super) fn current_count(&mut self, now: Now) -> u32 {
        self.advance(now);
        let tick_ns = self.tick_ns();
        self.timer.countdown.map_or(0, |countdown| countdown.remaining(now.ns, tick_ns))
    }

    /// A write to the divide configuration. A countdown goes on from its count at the new rate; the part of a tick that had passed is lost.
    pub(super) fn set_divide(&mut self, value: u32, now: Now) -> Effects {
        let count = self.current_count(now);
        if value & 0xb != self.registers.get(DIVIDE) {
            self.registers.set(DIVIDE, value & 0xb);
            self.timer.countdown = (count != 0).then_some(Countdown { start_ns: now.ns, count });
        }
        Effects { timer_changed: true, ..Effects::NONE }
    }

    /// IA32_TSC_DEADLINE: 0 when disarmed, and in the other modes.
    pub(super) fn tsc_deadline(&mut self, now: Now) -> u64 {
        self.advance(now);
        self.timer.deadline
    }

    /// A write to IA32_TSC_DEADLINE: arms, or with 0 disarms. A deadline that has passed expires at once. In the other modes it is ignored.
    pub(super) fn set_tsc_deadline(&mut self, deadline: u64, now: Now) -> Effects {
        self.advance(now);
        if self.timer_mode() != TimerMode::TscDeadline {
            return Effects::NONE;
        }
        self.timer.deadline = deadline;
        self.advance(now);
        Effects { timer_changed: true, ..Effects::NONE }
    }
}
