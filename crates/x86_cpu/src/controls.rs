//! What makes the processor stop for L0: the one set of controls a guest runs under.
//!
//! The words and bits are those of a VMCS (SDM 3C 25.6), because that is what they are: whoever runs a guest on this processor
//! runs it under one such set, and the processor does not know whether the guest is L1 or L2. Always in force, as in VMX
//! without a control of its own: what has no meaning inside the processor (devices, MSRs of the local APIC) exits.

/// Pin-based controls: an external interrupt exits instead of being delivered. L0 asks for it always: it owns the interrupt
/// controllers.
pub const EXTERNAL_INTERRUPT_EXITING: u32 = 1 << 0;
/// Primary controls: HLT exits.
pub const HLT_EXITING: u32 = 1 << 7;
/// Primary controls: MOV to CR8 exits.
pub const CR8_LOAD_EXITING: u32 = 1 << 19;
/// Primary controls: MOV from CR8 exits.
pub const CR8_STORE_EXITING: u32 = 1 << 20;
/// Primary controls: every IN, OUT, INS and OUTS exits.
pub const UNCONDITIONAL_IO_EXITING: u32 = 1 << 24;
/// Primary controls: PAUSE exits.
pub const PAUSE_EXITING: u32 = 1 << 30;

/// Bits of the pin-based controls that this processor can have off or on: those of `must_be_one` are always on.
const PIN_MUST_BE_ONE: u32 = EXTERNAL_INTERRUPT_EXITING;
/// Of the primary controls, likewise.
const PRIMARY_MUST_BE_ONE: u32 =
    HLT_EXITING | CR8_LOAD_EXITING | CR8_STORE_EXITING | UNCONDITIONAL_IO_EXITING;
const PRIMARY_MAY_BE_ONE: u32 = PRIMARY_MUST_BE_ONE | PAUSE_EXITING;

/// The controls a guest runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Pin-based VM-execution controls.
    pin_based: u32,
    /// Primary processor-based VM-execution controls.
    primary: u32,
}

/// A control has a value that this processor does not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {word} controls {value:#x} are not offered: {must_be_one:#x} must be 1, and nothing outside {may_be_one:#x}"
)]
pub struct ControlsRefused {
    /// Which word.
    pub word: &'static str,
    /// What it was to be.
    pub value: u32,
    /// Bits that must be 1.
    pub must_be_one: u32,
    /// Bits that may be 1.
    pub may_be_one: u32,
}

impl Default for Controls {
    fn default() -> Self {
        Self { pin_based: PIN_MUST_BE_ONE, primary: PRIMARY_MUST_BE_ONE }
    }
}

impl Controls {
    /// Controls with these words.
    ///
    /// # Errors
    /// [`ControlsRefused`] for bits this processor does not offer, as VM entry refuses them (SDM 3C 27.2.1.1).
    pub const fn new(pin_based: u32, primary: u32) -> Result<Self, ControlsRefused> {
        if pin_based != PIN_MUST_BE_ONE {
            return Err(ControlsRefused {
                word: "pin-based",
                value: pin_based,
                must_be_one: PIN_MUST_BE_ONE,
                may_be_one: PIN_MUST_BE_ONE,
            });
        }
        if primary & PRIMARY_MUST_BE_ONE != PRIMARY_MUST_BE_ONE || primary & !PRIMARY_MAY_BE_ONE != 0 {
            return Err(ControlsRefused {
                word: "primary processor-based",
                value: primary,
                must_be_one: PRIMARY_MUST_BE_ONE,
                may_be_one: PRIMARY_MAY_BE_ONE,
            });
        }
        Ok(Self { pin_based, primary })
    }

    /// These controls with PAUSE exiting on or off.
    #[must_use]
    pub const fn with_pause_exiting(self, on: bool) -> Self {
        let primary = if on { self.primary | PAUSE_EXITING } else { self.primary & !PAUSE_EXITING };
        Self { primary, ..self }
    }

    /// Whether PAUSE exits.
    #[inline]
    pub(crate) const fn pause_exits(self) -> bool {
        self.primary & PAUSE_EXITING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_offered_controls_are_taken() {
        let primary = PRIMARY_MUST_BE_ONE;
        assert_eq!(Controls::new(EXTERNAL_INTERRUPT_EXITING, primary), Ok(Controls::default()));
        assert_eq!(
            Controls::new(EXTERNAL_INTERRUPT_EXITING, primary | PAUSE_EXITING),
            Ok(Controls::default().with_pause_exiting(true))
        );
        assert!(Controls::new(0, primary).is_err(), "external-interrupt exiting off");
        assert!(Controls::new(EXTERNAL_INTERRUPT_EXITING, 0).is_err(), "HLT exiting off");
        assert!(Controls::new(EXTERNAL_INTERRUPT_EXITING, primary | 1 << 12).is_err(), "RDTSC exiting");
    }
}
