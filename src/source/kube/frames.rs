use super::wire::WireError;

/// The API server stores nothing near this size; a longer frame is no frame.
const LARGEST: usize = 64 << 20;
/// What is kept of the buffer after a large frame.
const USUAL: usize = 64 << 10;

/// Cuts a watch into its events: each is preceded by its length in four bytes, the highest first (k8s.io/apimachinery,
/// util/framer).
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the first frame that was not taken begins
    at: usize,
}

impl Frames {
    /// Adds what was received, cut anywhere.
    pub fn push(&mut self, received: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(USUAL);
        }
        self.bytes.extend_from_slice(received);
    }

    /// The next frame, if it is complete.
    pub fn take(&mut self) -> Result<Option<&[u8]>, WireError> {
        let Some((length, rest)) = self.bytes[self.at..].split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LARGEST {
            return Err(WireError::new("an event of more than 64 MiB"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.at + 4;
        self.at = start + length;
        Ok(Some(&self.bytes[start..self.at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_may_be_cut_anywhere() {
        let stream = [&[0, 0, 0, 3][..], b"one", &[0, 0, 0, 0], &[0, 0, 1, 0], &[7; 256]].concat();
        for size in 1..stream.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for part in stream.chunks(size) {
                frames.push(part);
                while let Some(frame) = frames.take().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            assert_eq!(found, [b"one".to_vec(), Vec::new(), vec![7; 256]], "in parts of {size}");
        }
    }

    #[test]
    fn a_length_beyond_all_bounds_is_refused() {
        let mut frames = Frames::default();
        frames.push(b"HTTP");
        assert_eq!(frames.take().unwrap_err().to_string(), "an event of more than 64 MiB");
    }
}
