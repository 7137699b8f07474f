//! Port 0x80: where firmware shows how far its self-test came, and where kernels write to wait a little. It keeps the last byte.

pub use saved_state::PostPortStateV1;

/// The port.
#[derive(Debug, Clone, Default)]
pub struct PostPort {
    code: u8,
}

impl PostPort {
    /// Its port.
    pub const PORT: u16 = 0x80;

    /// A port nothing was written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the last byte; the ports after it are not its own.
    pub fn read(&mut self, _port: u16, size: u8, _now: u64) -> u32 {
        crate::open_bus(size) & !0xff | u32::from(self.code)
    }

    /// Keeps a byte.
    pub fn write(&mut self, _port: u16, _size: u8, value: u32, _now: u64) {
        self.code = value as u8;
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::PostPort;

    /// The saved state of [`PostPort`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PostPortStateV1 {
        pub(super) code: u8,
    }

    impl SavedState for PostPortStateV1 {
        const KIND: &'static str = "post_port";
        const VERSION: u16 = 1;
    }

    impl Save for PostPort {
        type State = PostPortStateV1;

        fn save(&self) -> PostPortStateV1 {
            let &Self { code } = self;
            PostPortStateV1 { code }
        }
    }

    impl Restore for PostPort {
        fn restore(&mut self, state: PostPortStateV1) -> Result<(), RestoreError> {
            let PostPortStateV1 { code } = state;
            *self = Self { code };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::*;

    #[test]
    fn it_keeps_the_last_byte_and_saves_it() {
        let mut port = PostPort::new();
        port.write(0x80, 2, 0x1234, 0);
        assert_eq!(port.read(0x80, 2, 0), 0xff34);
        let mut other = PostPort::new();
        other.restore(port.save()).unwrap();
        assert_eq!(other.read(0x80, 1, 0), 0x34);
    }
}
