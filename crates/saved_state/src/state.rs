//! The traits a component is saved by.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RestoreError;

/// A saved type: plain data with a stable identity, never a type that something runs on.
///
/// Once a version is released its type does not change any more; see the README for how a new one is added.
pub trait SavedState: Serialize + DeserializeOwned {
    /// What this is the state of: 1 to 32 characters of `a-z 0-9 _ . -`.
    const KIND: &'static str;
    /// The version of the type.
    const VERSION: u16;
}

/// A component whose state can be taken out.
///
/// There are no default bodies here or in [`Restore`]: every component answers how it is saved.
pub trait Save {
    /// The saved type of this component.
    type State: SavedState;

    /// The whole state that a guest could ever notice. Changes nothing.
    fn save(&self) -> Self::State;
}

/// A component whose state can be put back.
pub trait Restore: Save {
    /// Puts `state` in place of what this component holds.
    ///
    /// On success the component continues as the saved one would have; on failure it is unchanged. `state` comes from a file or a
    /// peer: every value that the component could not have reached by itself, and that would break an invariant, is an error.
    fn restore(&mut self, state: Self::State) -> Result<(), RestoreError>;
}
