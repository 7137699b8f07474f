//! What is saved of a serial port.

use ::saved_state::{Restore, RestoreError, Save, SavedState};
use serde::{Deserialize, Serialize};

use super::{FIFO, INPUT_LIMIT, Uart};

/// The saved state of [`Uart`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UartStateV1 {
    pub(super) ier: u8,
    pub(super) lcr: u8,
    pub(super) mcr: u8,
    pub(super) scratch: u8,
    pub(super) divisor: u16,
    pub(super) fifos: bool,
    pub(super) trigger: u8,
    pub(super) received: Vec<u8>,
    pub(super) overrun: bool,
    pub(super) modem_changes: u8,
    pub(super) thre_pending: bool,
    pub(super) thre_at: Option<u64>,
    pub(super) timed_out: bool,
    pub(super) time_out_at: Option<u64>,
    pub(super) input: Vec<u8>,
}

impl SavedState for UartStateV1 {
    const KIND: &'static str = "uart";
    const VERSION: u16 = 1;
}

impl Save for Uart {
    type State = UartStateV1;

    fn save(&self) -> UartStateV1 {
        let Self {
            base: _,
            ier,
            lcr,
            mcr,
            scratch,
            divisor,
            fifos,
            trigger,
            received,
            overrun,
            modem_changes,
            thre_pending,
            thre_at,
            timed_out,
            time_out_at,
            input,
            output: _,
        } = self;
        UartStateV1 {
            ier: *ier,
            lcr: *lcr,
            mcr: *mcr,
            scratch: *scratch,
            divisor: *divisor,
            fifos: *fifos,
            trigger: *trigger,
            received: received.iter().copied().collect(),
            overrun: *overrun,
            modem_changes: *modem_changes,
            thre_pending: *thre_pending,
            thre_at: *thre_at,
            timed_out: *timed_out,
            time_out_at: *time_out_at,
            input: input.iter().copied().collect(),
        }
    }
}

impl Restore for Uart {
    fn restore(&mut self, state: UartStateV1) -> Result<(), RestoreError> {
        let UartStateV1 {
            ier,
            lcr,
            mcr,
            scratch,
            divisor,
            fifos,
            trigger,
            received,
            overrun,
            modem_changes,
            thre_pending,
            thre_at,
            timed_out,
            time_out_at,
            input,
        } = state;
        let invalid = |field, reason: &str| Err(RestoreError::invalid::<UartStateV1>(field, reason));
        if ier > 0x0f {
            return invalid("ier", "has reserved bits set");
        }
        if mcr > 0x1f {
            return invalid("mcr", "has reserved bits set");
        }
        if modem_changes > 0x0f {
            return invalid("modem_changes", "has bits above the low four");
        }
        let triggers: &[u8] = if fifos { &[1, 4, 8, 14] } else { &[1] };
        if !triggers.contains(&trigger) {
            return invalid("trigger", "is not a trigger level");
        }
        if received.len() > if fifos { FIFO } else { 1 } {
            return invalid("received", "is longer than the receiver");
        }
        if input.len() > INPUT_LIMIT {
            return invalid("input", "is longer than the queue");
        }
        *self = Self {
            base: self.base,
            ier,
            lcr,
            mcr,
            scratch,
            divisor,
            fifos,
            trigger,
            received: received.into(),
            overrun,
            modem_changes,
            thre_pending,
            thre_at,
            timed_out,
            time_out_at,
            input: input.into(),
            output: Vec::new(),
        };
        Ok(())
    }
}
