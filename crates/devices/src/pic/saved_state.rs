//! What is saved of the interrupt controllers.

use ::saved_state::{Restore, RestoreError, Save, SavedState};
use serde::{Deserialize, Serialize};

use super::{CASCADE, Chip, ELCR_WRITABLE, Next, Pic};

/// The saved state of [`Pic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PicStateV1 {
    pub(super) master: ChipV1,
    pub(super) slave: ChipV1,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChipV1 {
    pub(super) lines: u8,
    pub(super) irr: u8,
    pub(super) isr: u8,
    pub(super) imr: u8,
    pub(super) elcr: u8,
    pub(super) next: NextV1,
    pub(super) with_icw4: bool,
    pub(super) single: bool,
    pub(super) icw2: u8,
    pub(super) icw3: u8,
    pub(super) auto_eoi: bool,
    pub(super) special_fully_nested: bool,
    pub(super) special_mask: bool,
    pub(super) rotate_on_auto_eoi: bool,
    pub(super) read_isr: bool,
    pub(super) poll: bool,
    pub(super) lowest: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NextV1 {
    Ocw1,
    Icw2,
    Icw3,
    Icw4,
}

impl SavedState for PicStateV1 {
    const KIND: &'static str = "pic";
    const VERSION: u16 = 1;
}

impl Chip {
    fn save(&self) -> ChipV1 {
        let &Self {
            lines,
            irr,
            isr,
            imr,
            elcr,
            // Wiring.
            always_level: _,
            next,
            with_icw4,
            single,
            icw2,
            icw3,
            auto_eoi,
            special_fully_nested,
            special_mask,
            rotate_on_auto_eoi,
            read_isr,
            poll,
            lowest,
        } = self;
        let next = match next {
            Next::Ocw1 => NextV1::Ocw1,
            Next::Icw2 => NextV1::Icw2,
            Next::Icw3 => NextV1::Icw3,
            Next::Icw4 => NextV1::Icw4,
        };
        ChipV1 {
            lines,
            irr,
            isr,
            imr,
            elcr,
            next,
            with_icw4,
            single,
            icw2,
            icw3,
            auto_eoi,
            special_fully_nested,
            special_mask,
            rotate_on_auto_eoi,
            read_isr,
            poll,
            lowest,
        }
    }

    fn restored(state: ChipV1, always_level: u8, elcr_writable: u8) -> Result<Self, RestoreError> {
        let ChipV1 {
            lines,
            irr,
            isr,
            imr,
            elcr,
            next,
            with_icw4,
            single,
            icw2,
            icw3,
            auto_eoi,
            special_fully_nested,
            special_mask,
            rotate_on_auto_eoi,
            read_isr,
            poll,
            lowest,
        } = state;
        let invalid = |field, reason: &str| Err(RestoreError::invalid::<PicStateV1>(field, reason));
        if lowest > 7 {
            return invalid("lowest", "is above 7");
        }
        if icw2 & 7 != 0 {
            return invalid("icw2", "has one of its low three bits set");
        }
        if elcr & !elcr_writable != 0 {
            return invalid("elcr", "makes an input level-triggered that cannot be");
        }
        if irr & !lines != 0 {
            return invalid("irr", "has a request whose line is low");
        }
        let next = match next {
            NextV1::Ocw1 => Next::Ocw1,
            NextV1::Icw2 => Next::Icw2,
            NextV1::Icw3 => Next::Icw3,
            NextV1::Icw4 => Next::Icw4,
        };
        Ok(Self {
            lines,
            irr,
            isr,
            imr,
            elcr,
            always_level,
            next,
            with_icw4,
            single,
            icw2,
            icw3,
            auto_eoi,
            special_fully_nested,
            special_mask,
            rotate_on_auto_eoi,
            read_isr,
            poll,
            lowest,
        })
    }
}

impl Save for Pic {
    type State = PicStateV1;

    fn save(&self) -> PicStateV1 {
        let Self { master, slave } = self;
        PicStateV1 { master: master.save(), slave: slave.save() }
    }
}

impl Restore for Pic {
    fn restore(&mut self, state: PicStateV1) -> Result<(), RestoreError> {
        let PicStateV1 { master, slave } = state;
        *self = Self {
            master: Chip::restored(master, 1 << CASCADE, ELCR_WRITABLE[0])?,
            slave: Chip::restored(slave, 0, ELCR_WRITABLE[1])?,
        };
        Ok(())
    }
}
