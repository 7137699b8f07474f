//! What is saved of a counter.

use ::saved_state::RestoreError;
use serde::{Deserialize, Serialize};

use super::{Counter, END_OF_TIME, Next, Rest, Run};
use crate::pit::PitStateV1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pit) struct CounterV1 {
    pub(in crate::pit) mode: u8,
    pub(in crate::pit) bcd: bool,
    pub(in crate::pit) access: u8,
    pub(in crate::pit) gate: bool,
    pub(in crate::pit) count_register: u16,
    pub(in crate::pit) unloaded: bool,
    pub(in crate::pit) written: bool,
    pub(in crate::pit) low_byte: Option<u8>,
    pub(in crate::pit) high_next: bool,
    pub(in crate::pit) latched_count: Option<u16>,
    pub(in crate::pit) latched_status: Option<u8>,
    pub(in crate::pit) run: RunV1,
    pub(in crate::pit) rest_out: bool,
    pub(in crate::pit) rest_count: u16,
    pub(in crate::pit) next: Option<NextV1>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pit) enum RunV1 {
    Idle,
    Counting { start: i64, length: u32 },
    Held { elapsed: i64, length: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pit) struct NextV1 {
    pub(in crate::pit) length: u32,
    pub(in crate::pit) at: i64,
}

impl Counter {
    pub(in crate::pit) fn save(&self) -> CounterV1 {
        let &Self {
            mode,
            bcd,
            access,
            gate,
            count_register,
            unloaded,
            written,
            low_byte,
            high_next,
            latched_count,
            latched_status,
            run,
            rest: Rest { out: rest_out, count: rest_count },
            next,
        } = self;
        let run = match run {
            Run::Idle => RunV1::Idle,
            Run::Counting { start, length } => RunV1::Counting { start, length },
            Run::Held { elapsed, length } => RunV1::Held { elapsed, length },
        };
        let next = next.map(|Next { length, at }| NextV1 { length, at });
        CounterV1 {
            mode,
            bcd,
            access,
            gate,
            count_register,
            unloaded,
            written,
            low_byte,
            high_next,
            latched_count,
            latched_status,
            run,
            rest_out,
            rest_count,
            next,
        }
    }

    pub(in crate::pit) fn restored(state: CounterV1) -> Result<Self, RestoreError> {
        let CounterV1 {
            mode,
            bcd,
            access,
            gate,
            count_register,
            unloaded,
            written,
            low_byte,
            high_next,
            latched_count,
            latched_status,
            run,
            rest_out,
            rest_count,
            next,
        } = state;
        let invalid = |field, reason: &str| Err(RestoreError::invalid::<PitStateV1>(field, reason));
        if mode > 5 {
            return invalid("mode", "is above 5");
        }
        if !(1..=3).contains(&access) {
            return invalid("access", "is not 1 to 3");
        }
        let is_length = |length| (1..=0x1_0000).contains(&length);
        let is_time = |time| (-END_OF_TIME..END_OF_TIME).contains(&time);
        let run = match run {
            RunV1::Idle => Run::Idle,
            RunV1::Counting { start, length } if is_time(start) && is_length(length) => {
                Run::Counting { start, length }
            }
            RunV1::Held { elapsed, length } if is_time(elapsed) && is_length(length) => {
                Run::Held { elapsed, length }
            }
            _ => return invalid("run", "has an impossible time or length"),
        };
        let next = match next {
            None => None,
            Some(NextV1 { length, at }) if is_time(at) && is_length(length) => Some(Next { length, at }),
            Some(_) => return invalid("next", "has an impossible time or length"),
        };
        let rest = Rest { out: rest_out, count: rest_count };
        Ok(Self {
            mode,
            bcd,
            access,
            gate,
            count_register,
            unloaded,
            written,
            low_byte,
            high_next,
            latched_count,
            latched_status,
            run,
            rest,
            next,
        })
    }
}
