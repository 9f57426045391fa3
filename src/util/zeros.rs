//! Growing byte buffers.

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Appends zeros to a buffer until it has `len` bytes. Does nothing if the buffer is at least that long.
///
/// `Vec::resize` does the same. But in a build without optimization it writes one byte at a time, which would take a
/// quarter of the time of all tests.
pub(crate) fn fill_to(buffer: &mut Vec<u8>, len: usize) {
    while buffer.len() < len {
        let missing = len - buffer.len();
        buffer.extend_from_slice(&ZEROS[..missing.min(ZEROS.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_filled_to_its_length() {
        for len in [0, 1, ZEROS.len() - 1, ZEROS.len(), 3 * ZEROS.len() + 7] {
            let mut buffer = vec![1, 2];
            fill_to(&mut buffer, len);
            let mut resized = vec![1, 2];
            resized.resize(len.max(2), 0);
            assert_eq!(buffer, resized);
        }
    }
}
