//! The timer in its three modes.

use super::*;
use x86_defs::msr;

const ONE_SHOT: u32 = 0x0_0040;
const PERIODIC: u32 = 0x2_0040;
const DEADLINE: u32 = 0x4_0040;

fn in_mode(entry: u32, divide: u32) -> Lapic {
    let mut lapic = enabled(0);
    let _ = lapic.write(DIVIDE, divide, at(0));
    let _ = lapic.write(LVT_TIMER, entry, at(0));
    lapic
}

/// Whether the timer's vector is requested; takes it.
fn fired(lapic: &mut Lapic) -> bool {
    let fired = requested(lapic) == [0x40];
    if fired {
        assert_eq!(lapic.acknowledge(), 0x40, "the timer's vector");
        let _ = lapic.write(EOI, 0, at(0));
    }
    fired
}

#[test]
fn divide_configuration_is_figure_12_10() {
    for (divide, by) in [(0x0, 2), (0x1, 4), (0x2, 8), (0x3, 16), (0x8, 32), (0x9, 64), (0xa, 128), (0xb, 1)]
    {
        let mut lapic = in_mode(ONE_SHOT, divide);
        let _ = lapic.write(INITIAL_COUNT, 10, at(1000));
        let expiry = 1000 + 10 * by * 40;
        assert_eq!(lapic.next_event(at(1000)), Some(expiry), "divide by {by}");
        lapic.advance(at(expiry - 1));
        assert!(!fired(&mut lapic), "divide by {by}: a nanosecond early");
        lapic.advance(at(expiry));
        assert!(fired(&mut lapic), "divide by {by}: in time");
        assert_eq!(lapic.next_event(at(expiry)), None, "divide by {by}: once");
    }
}

#[test]
fn current_count_goes_down_and_stays_at_zero() {
    let mut lapic = in_mode(ONE_SHOT, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 100, at(0));
    for (ns, count) in [(0, 100), (39, 100), (40, 99), (3999, 1), (4000, 0), (1_000_000, 0)] {
        assert_eq!(lapic.read(CURRENT_COUNT, at(ns)), count, "one-shot at {ns} ns");
    }
    assert_eq!(lapic.read(INITIAL_COUNT, at(0)), 100, "the initial count stays");
    let mut lapic = in_mode(PERIODIC, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 100, at(0));
    for (ns, count) in [(0, 100), (3999, 1), (4000, 100), (4040, 99), (40_000_040, 99)] {
        assert_eq!(lapic.read(CURRENT_COUNT, at(ns)), count, "periodic at {ns} ns");
    }
}

#[test]
fn periodic_does_not_drift() {
    let mut lapic = in_mode(PERIODIC, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 7, at(13));
    for period in 1..1000 {
        let due = lapic.next_event(at(0)).expect("armed");
        assert_eq!(due, 13 + period * 7 * 40, "period {period}");
        lapic.advance(at(due));
        assert!(fired(&mut lapic), "period {period}");
    }
}

#[test]
fn advancing_in_one_step_or_many_is_the_same() {
    for entry in [ONE_SHOT, PERIODIC, ONE_SHOT | LVT_MASKED, PERIODIC | LVT_MASKED] {
        for divide in [0xb, 0x0, 0xa] {
            let mut steps = in_mode(entry, divide);
            let _ = steps.write(INITIAL_COUNT, 77, at(5));
            let mut once = steps.clone();
            for ns in (5..2_000_000).step_by(9_973) {
                steps.advance(at(ns));
            }
            steps.advance(at(2_000_000));
            once.advance(at(2_000_000));
            assert_eq!(steps, once, "LVT {entry:#x}, divide {divide:#x}");
        }
    }
}

#[test]
fn masked_counts_without_interrupt() {
    let mut lapic = in_mode(ONE_SHOT | LVT_MASKED, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 10, at(0));
    assert_eq!(lapic.next_event(at(0)), None, "nothing to wake for");
    assert_eq!(lapic.read(CURRENT_COUNT, at(200)), 5, "it counts");
    let _ = lapic.write(LVT_TIMER, ONE_SHOT, at(1000));
    lapic.advance(at(2000));
    assert!(!fired(&mut lapic), "what expired while masked is lost");
    let _ = lapic.write(INITIAL_COUNT, 10, at(2000));
    let _ = lapic.write(LVT_TIMER, ONE_SHOT | LVT_MASKED, at(2000));
    let _ = lapic.write(LVT_TIMER, ONE_SHOT, at(2100));
    assert_eq!(lapic.next_event(at(2100)), Some(2400), "unmasked in time");
}

#[test]
fn initial_count_zero_stops_and_a_write_restarts() {
    let mut lapic = in_mode(PERIODIC, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 10, at(0));
    let _ = lapic.write(INITIAL_COUNT, 20, at(100));
    assert_eq!(lapic.next_event(at(100)), Some(900), "from the new count");
    assert!(lapic.write(INITIAL_COUNT, 0, at(200)).timer_changed, "told");
    assert_eq!(lapic.next_event(at(200)), None, "stopped");
    assert_eq!(lapic.read(CURRENT_COUNT, at(300)), 0, "reads 0");
}

#[test]
fn a_new_divisor_goes_on_from_the_count() {
    let mut lapic = in_mode(ONE_SHOT, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 100, at(0));
    let _ = lapic.write(DIVIDE, 0x0, at(2000));
    assert_eq!(lapic.read(CURRENT_COUNT, at(2000)), 50, "the count");
    assert_eq!(lapic.next_event(at(2000)), Some(2000 + 50 * 80), "at half the rate");
    let _ = lapic.write(DIVIDE, 0x0, at(2079));
    assert_eq!(lapic.next_event(at(2079)), Some(2000 + 50 * 80), "the same divisor changes nothing");
}

/// The exception named in the module's page: processors go on counting, and test suites look.
#[test]
fn one_shot_and_periodic_change_into_each_other_while_counting() {
    let mut lapic = in_mode(ONE_SHOT, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 100, at(0));
    let _ = lapic.write(LVT_TIMER, PERIODIC, at(2000));
    assert_eq!(lapic.read(CURRENT_COUNT, at(2000)), 50, "goes on from where it was");
    assert_eq!(lapic.read(CURRENT_COUNT, at(4000)), 100, "and then from the initial count");
    let _ = lapic.write(LVT_TIMER, ONE_SHOT, at(6000));
    assert_eq!(lapic.read(CURRENT_COUNT, at(8000)), 0, "runs out");
    let _ = lapic.write(LVT_TIMER, PERIODIC, at(9000));
    assert_eq!(lapic.read(CURRENT_COUNT, at(9001)), 0, "what has run out does not start again");
    assert_eq!(lapic.read(INITIAL_COUNT, at(9001)), 100, "the initial count stays");
}

#[test]
fn mode_changes_to_and_from_deadline_disarm() {
    let mut lapic = in_mode(ONE_SHOT, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 100, at(0));
    let _ = lapic.write(LVT_TIMER, DEADLINE, at(10));
    assert_eq!(lapic.next_event(at(10)), None, "to TSC-deadline");
    assert_eq!(lapic.read(CURRENT_COUNT, at(10)), 0, "current count reads 0 there");
    let _ = lapic.write(INITIAL_COUNT, 100, at(10));
    assert_eq!(lapic.read(INITIAL_COUNT, at(10)), 0, "writes of the initial count are ignored there");
    assert_eq!(lapic.next_event(at(10)), None, "and arm nothing");
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 500, at(10)).expect("legal");
    let _ = lapic.write(LVT_TIMER, PERIODIC, at(20));
    assert_eq!(lapic.next_event(at(20)), None, "from TSC-deadline");
    assert_eq!(lapic.msr_read(msr::TSC_DEADLINE, at(20)), Ok(0), "the MSR reads 0 in other modes");
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 500, at(20)).expect("legal");
    assert_eq!(lapic.msr_read(msr::TSC_DEADLINE, at(20)), Ok(0), "and writes are ignored");
    let _ = lapic.write(LVT_TIMER, DEADLINE | 0x2_0000, at(20));
    let _ = lapic.write(INITIAL_COUNT, 100, at(20));
    assert_eq!(lapic.next_event(at(20)), None, "the reserved mode counts nothing");
}

#[test]
fn tsc_deadline_compares_the_guests_tsc() {
    let mut lapic = in_mode(DEADLINE, 0);
    let moment = |ns, tsc| Now { ns, tsc };
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 1_000_500, moment(100, 1_000_000)).expect("legal");
    assert_eq!(lapic.next_event(moment(100, 1_000_000)), Some(600), "500 ticks of 1 ns");
    assert_eq!(lapic.msr_read(msr::TSC_DEADLINE, moment(599, 1_000_499)), Ok(1_000_500), "armed");
    assert!(!fired(&mut lapic), "not yet");
    lapic.advance(moment(600, 1_000_500));
    assert!(fired(&mut lapic), "at the deadline");
    assert_eq!(lapic.msr_read(msr::TSC_DEADLINE, moment(600, 1_000_500)), Ok(0), "it disarms itself");
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 1, moment(700, 1_000_600)).expect("legal");
    assert!(fired(&mut lapic), "a deadline in the past expires at once");
    let _ = lapic.msr_write(msr::TSC_DEADLINE, u64::MAX, moment(700, 1_000_600)).expect("legal");
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 0, moment(700, 1_000_600)).expect("legal");
    assert_eq!(lapic.next_event(moment(700, 1_000_600)), None, "0 disarms");
}

#[test]
fn a_masked_deadline_passes_unheard() {
    let mut lapic = in_mode(DEADLINE | LVT_MASKED, 0);
    let _ = lapic.msr_write(msr::TSC_DEADLINE, 500, at(0)).expect("legal");
    assert_eq!(lapic.next_event(at(0)), Some(500), "it disarms at its moment");
    lapic.advance(at(500));
    assert!(!fired(&mut lapic), "masked");
    assert_eq!(lapic.msr_read(msr::TSC_DEADLINE, at(500)), Ok(0), "disarmed");
}

#[test]
fn an_illegal_timer_vector_is_a_receive_error() {
    let mut lapic = in_mode(0x0_0003, 0xb);
    let _ = lapic.write(INITIAL_COUNT, 1, at(0));
    lapic.advance(at(40));
    assert_eq!(errors(&mut lapic), ESR_RECEIVE_ILLEGAL_VECTOR, "vector 3");
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let mut lapic = in_mode(PERIODIC, 0xa);
    let _ = lapic.write(INITIAL_COUNT, u32::MAX, at(u64::MAX - 1));
    assert_eq!(lapic.next_event(at(u64::MAX - 1)), Some(u64::MAX), "never");
    lapic.advance(at(u64::MAX));
    let _ = lapic.read(CURRENT_COUNT, at(0));
}
