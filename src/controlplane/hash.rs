//! A hash that is the same on every node, in every version and on every machine.

/// 64-bit FNV-1a (draft-eastlake-fnv) of the parts, with a zero byte after each so that `ab`, `c` is not `a`, `bc`.
pub(super) fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The characters of generated names: Kubernetes' choice, without vowels, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` characters made from the hash of the parts, as the end of a generated name.
pub(super) fn suffix(parts: &[&str], length: usize) -> String {
    let mut hash = fnv1a(parts);
    let mut suffix = String::with_capacity(length);
    for _ in 0..length {
        suffix.push(char::from(ALPHABET[(hash % 27) as usize]));
        hash /= 27;
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        // Offset basis, and the published value of one zero byte.
        assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&[""]), 0xaf63_bd4c_8601_b7df);
        assert_ne!(fnv1a(&["ab", "c"]), fnv1a(&["a", "bc"]));
    }

    #[test]
    fn suffixes_never_change() {
        assert_eq!(suffix(&["default", "kubia", "0"], 5), suffix(&["default", "kubia", "0"], 5));
        assert_eq!(suffix(&[], 5), "s6vf8");
        assert_eq!(suffix(&[], 10).len(), 10);
    }
}
