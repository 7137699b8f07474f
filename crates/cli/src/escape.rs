//! The key that is not the guest's: Ctrl-A, as QEMU users know it.

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// What the user asks of us rather than of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Ctrl-A X: end the machine.
    Stop,
    /// Ctrl-A H: show the keys.
    Help,
}

/// What Ctrl-A H shows. Lines end as a raw terminal needs it.
pub(crate) const HELP: &str = "\r\n\
    Ctrl-A X  end the machine\r\n\
    Ctrl-A A  send Ctrl-A to the guest\r\n\
    Ctrl-A H  this help\r\n";

/// Takes apart what is typed. The two bytes of a request may come separately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Escapes {
    escaped: bool,
}

impl Escapes {
    /// One byte: appends to `guest` what is the guest's, and returns what is not.
    pub(crate) fn take(&mut self, byte: u8, guest: &mut Vec<u8>) -> Option<Request> {
        if !std::mem::take(&mut self.escaped) {
            if byte == ESCAPE {
                self.escaped = true;
            } else {
                guest.push(byte);
            }
            return None;
        }
        match byte {
            b'x' | b'X' => Some(Request::Stop),
            b'h' | b'H' | b'?' => Some(Request::Help),
            b'a' | b'A' | ESCAPE => {
                guest.push(ESCAPE);
                None
            }
            // No request: the guest gets both, as they were typed.
            _ => {
                guest.extend([ESCAPE, byte]);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Vec<u8>, Vec<Request>) {
        let (mut escapes, mut guest) = (Escapes::default(), Vec::new());
        let requests = bytes.iter().filter_map(|&byte| escapes.take(byte, &mut guest)).collect();
        (guest, requests)
    }

    #[test]
    fn keys() {
        let none: Vec<Request> = Vec::new();
        assert_eq!(typed(b"ls\r"), (b"ls\r".to_vec(), none.clone()));
        assert_eq!(typed(b"a\x01xb"), (b"ab".to_vec(), vec![Request::Stop]));
        assert_eq!(typed(b"\x01H\x01?"), (vec![], vec![Request::Help; 2]));
        assert_eq!(typed(b"\x01a\x01\x01"), (vec![1, 1], none.clone()));
        assert_eq!(typed(b"\x01c"), (vec![1, b'c'], none.clone()));
        assert_eq!(typed(b"\x01"), (vec![], none));
    }
}
