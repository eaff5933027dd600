//! Keys, from the bytes that a terminal in raw mode sends.

/// Action that a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// End.
    Quit,
    /// Suspend: Ctrl-Z.
    Suspend,
    /// End as SIGQUIT does: Ctrl-\.
    Abort,
    /// Towards the start.
    Up,
    /// Towards the end.
    Down,
    /// A screen towards the start.
    PageUp,
    /// A screen towards the end.
    PageDown,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// Show or hide what has ended.
    All,
    /// A key that means nothing.
    Other,
}

const ESCAPE: u8 = 0x1b;

/// Bytes that came and are not a whole key yet.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Takes what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns whether a sequence has begun and not ended; an escape alone looks the same.
    pub fn is_waiting(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes the next whole key.
    pub fn next(&mut self) -> Option<Key> {
        let (length, key) = first(&self.bytes)?;
        self.bytes.drain(..length);
        Some(key)
    }

    /// Takes the rest after a pause in the input: an escape alone is the escape key, and half a
    /// sequence is nothing.
    pub fn give_up(&mut self) -> Option<Key> {
        let key = match self.bytes[..] {
            [] => return None,
            [ESCAPE] => Key::Quit,
            _ => Key::Other,
        };
        self.bytes.clear();
        Some(key)
    }
}

/// Returns the first key and its length; `None` if it is not complete.
fn first(bytes: &[u8]) -> Option<(usize, Key)> {
    let key = match *bytes.first()? {
        ESCAPE => return sequence(bytes),
        b'q' | 0x03 => Key::Quit,
        0x1a => Key::Suspend,
        0x1c => Key::Abort,
        b'k' => Key::Up,
        b'j' => Key::Down,
        b'g' => Key::Home,
        b'G' => Key::End,
        b' ' => Key::PageDown,
        b'a' => Key::All,
        _ => Key::Other,
    };
    Some((1, key))
}

/// Decodes a key that sends an escape first: `ESC [ ... final` (ECMA-48) or `ESC O letter`
/// (application mode).
fn sequence(bytes: &[u8]) -> Option<(usize, Key)> {
    let key = |text: &[u8]| match text {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"H" | b"1~" | b"7~" => Key::Home,
        b"F" | b"4~" | b"8~" => Key::End,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        _ => Key::Other,
    };
    match *bytes.get(1)? {
        b'[' => {
            let last = bytes[2..]
                .iter()
                .position(|byte| (0x40..=0x7e).contains(byte))?
                + 2;
            Some((last + 1, key(&bytes[2..=last])))
        }
        b'O' => bytes.get(2).map(|_| (3, key(&bytes[2..3]))),
        // Alt and a key.
        _ => Some((2, Key::Other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        let mut keys: Vec<Key> = std::iter::from_fn(|| decoder.next()).collect();
        keys.extend(decoder.give_up());
        keys
    }

    #[test]
    fn bytes_become_keys() {
        for (bytes, expected) in [
            (&b"q"[..], &[Key::Quit][..]),
            (b"\x03", &[Key::Quit]),
            (b"\x1b", &[Key::Quit]),
            (b"\x1a", &[Key::Suspend]),
            (b"\x1b[A\x1bOBx", &[Key::Up, Key::Down, Key::Other]),
            (
                b"\x1b[5~\x1b[6~\x1b[1~\x1b[F",
                &[Key::PageUp, Key::PageDown, Key::Home, Key::End],
            ),
            (b"\x1b[1;5A", &[Key::Other]),
            (b"\x1bq", &[Key::Other]),
            (b"\x1b[", &[Key::Other]),
            (b"", &[]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut decoder = Decoder::default();
        for byte in b"\x1b[" {
            decoder.feed(&[*byte]);
            assert_eq!(decoder.next(), None);
            assert!(decoder.is_waiting());
        }
        decoder.feed(b"B");
        assert_eq!(decoder.next(), Some(Key::Down));
        assert!(!decoder.is_waiting());
    }
}
