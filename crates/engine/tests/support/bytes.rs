//! What containers of the tests write, and how it is compared.

use super::Written;

/// Bytes that look random and are the same each time (xorshift, Marsaglia 2003).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

/// Everything that a log driver may stumble over.
pub fn awkward(seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"plain\n\n\n  leading and trailing  \n\r\nwindows\r\nbare\rreturn\n");
    bytes.extend(b"\0nul\0\n\xff\xfe not UTF-8 \xc3\x28\n\x01\0\0\0\0\0\0\x05frame\n");
    bytes.extend(b"2026-01-01T00:00:00.000000000Z not a time of the engine's\n");
    // The engine cuts lines at 16 KiB.
    for length in [16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 100_000] {
        bytes.extend(std::iter::repeat_n(b'x', length));
        bytes.push(b'\n');
    }
    bytes.extend(noise(seed, 200_000));
    bytes
}

pub fn assert_same(got: &Written, expected: &Written) {
    for (name, got, expected) in [
        ("stdout", &got.stdout, &expected.stdout),
        ("stderr", &got.stderr, &expected.stderr),
    ] {
        let differs = got.iter().zip(expected).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs");
        assert_eq!(got.len(), expected.len(), "length of {name}");
    }
}
