//! Messages in a stream: each behind two octets with its length (RFC 1035, section 4.2.2).

/// A header. What is shorter is no query, and whoever sends it does not speak DNS (1.12).
const SHORTEST: usize = 12;
/// How much is read at a time.
const CHUNK: usize = 4096;

/// What was received and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    /// So much of it was taken
    taken: usize,
}

/// What stands at the begin of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A whole message
    Whole(&'a [u8]),
    /// More must arrive first
    Part,
    /// A length that no query has
    Malformed,
}

impl Received {
    /// Takes the next message.
    pub(super) fn take(&mut self) -> Frame<'_> {
        let rest = &self.bytes[self.taken..];
        let [high, low, message @ ..] = rest else { return Frame::Part };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < SHORTEST {
            return Frame::Malformed;
        }
        if message.len() < length {
            return Frame::Part;
        }
        let start = self.taken + 2;
        self.taken = start + length;
        Frame::Whole(&self.bytes[start..self.taken])
    }

    /// Whether nothing waits to be taken, not even a part.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Where to read more into; grows with what arrives, never beyond one message and a chunk. To be called when
    /// [`Received::take`] said [`Frame::Part`].
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.reserve(CHUNK);
        &mut self.bytes
    }
}

/// Puts a message behind others.
pub(super) fn push(out: &mut Vec<u8>, message: &[u8]) {
    // Longer ones than can be said do not come about: answers are made for this limit.
    let Ok(length) = u16::try_from(message.len()) else { return };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_however_they_arrive() {
        let mut stream = Vec::new();
        push(&mut stream, &[1; 12]);
        push(&mut stream, &[2; 300]);
        let mut received = Received::default();
        let mut taken = Vec::new();
        for byte in stream {
            received.room().push(byte);
            while let Frame::Whole(message) = received.take() {
                taken.push(message.to_vec());
            }
        }
        assert_eq!(taken, [vec![1; 12], vec![2; 300]]);
        assert!(received.is_empty());
    }

    #[test]
    fn a_length_that_no_query_has_is_malformed() {
        let mut received = Received::default();
        received.room().extend([0, 11, 1]);
        assert_eq!(received.take(), Frame::Malformed);
    }
}
