//! The bytes that the test task prints and writes, for tests that compare what arrived with what left, byte for byte.
//!
//! The program itself is `main.rs`; nothing here does I/O.

#![forbid(unsafe_code)]

/// Without an end: the same bytes for the same seed, on every machine and in every version.
///
/// xorshift64* after Sebastiano Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled";
/// each step gives eight bytes, least significant first.
#[derive(Debug, Clone)]
pub struct SeededBytes {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl SeededBytes {
    /// Any seed will do, 0 as well.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // An odd multiplier keeps seeds apart; the state may not be zero.
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
        Self {
            state: if state == 0 { 1 } else { state },
            word: [0; 8],
            used: 8,
        }
    }
}

impl Iterator for SeededBytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.used == self.word.len() {
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            self.word = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            self.used = 0;
        }
        let byte = self.word[self.used];
        self.used += 1;
        Some(byte)
    }
}

/// What `output NAME BYTES SEED` writes.
#[must_use]
pub fn output_bytes(bytes: usize, seed: u64) -> Vec<u8> {
    SeededBytes::new(seed).take(bytes).collect()
}

/// What `log-flood` prints: as many bytes as told, in lines of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Bytes of the whole, newlines included.
    pub bytes: usize,
    /// Bytes of a line, its newline included; at least 1. The last line may be shorter.
    pub line_bytes: usize,
    /// Any byte but the newline, NUL and what isn't UTF-8 included; else letters, digits and two signs.
    pub binary: bool,
    /// One endless line: no newlines at all, not at the end either.
    pub no_newline: bool,
}

impl Flood {
    /// The seed of every flood.
    pub const SEED: u64 = 1;

    /// `bytes` of printable text in lines of 100 bytes.
    #[must_use]
    pub fn text(bytes: usize) -> Self {
        Self {
            bytes,
            line_bytes: 100,
            binary: false,
            no_newline: false,
        }
    }

    /// The flood's bytes, one at a time. It ends in a newline unless told otherwise.
    pub fn content(self) -> impl Iterator<Item = u8> {
        let line_bytes = self.line_bytes.max(1);
        SeededBytes::new(Self::SEED)
            .take(self.bytes)
            .enumerate()
            .map(move |(at, byte)| {
                let ends_line = (at + 1) % line_bytes == 0 || at + 1 == self.bytes;
                match (self.no_newline, ends_line, self.binary) {
                    (false, true, _) => b'\n',
                    // A random newline would make two lines of one.
                    (_, _, true) if byte == b'\n' => 0xFF,
                    (_, _, true) => byte,
                    (_, _, false) => printable(byte),
                }
            })
    }
}

/// A flood's bytes in blocks, made here so that a program that is not optimised gets them quickly.
pub struct FloodBlocks(Box<dyn Iterator<Item = u8> + Send>);

impl FloodBlocks {
    /// From the flood's first byte on.
    #[must_use]
    pub fn new(flood: Flood) -> Self {
        Self(Box::new(flood.content()))
    }

    /// The next bytes: as many as asked for, fewer at the end.
    pub fn next_block(&mut self, bytes: usize) -> Vec<u8> {
        let mut block = Vec::with_capacity(bytes);
        block.extend(self.0.by_ref().take(bytes));
        block
    }
}

fn printable(byte: u8) -> u8 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    ALPHABET[usize::from(byte & 63)]
}

/// The content of file `index` of `files many N`.
#[must_use]
pub fn many_file_content(index: usize) -> String {
    format!("file {index}\n")
}

/// The path below `/output` of file `index` of `files many N`: a hundred in a folder.
#[must_use]
pub fn many_file_path(index: usize) -> String {
    format!("many/{:03}/{index:05}.txt", index / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_seed_never_change() {
        let first: Vec<u8> = SeededBytes::new(7).take(12).collect();
        assert_eq!(
            first,
            [63, 214, 36, 151, 209, 235, 222, 59, 205, 236, 181, 39]
        );
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(output_bytes(64, 0), output_bytes(64, 1));
        assert_eq!(output_bytes(64, 3)[..10], output_bytes(10, 3));
    }

    #[test]
    fn a_flood_has_exactly_its_bytes_and_lines() {
        let flood: Vec<u8> = Flood {
            line_bytes: 10,
            ..Flood::text(25)
        }
        .content()
        .collect();

        assert_eq!(flood.len(), 25);
        assert_eq!(flood.last(), Some(&b'\n'));
        let lines: Vec<usize> = flood
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::len)
            .collect();
        assert_eq!(lines, [10, 10, 5]);
    }

    #[test]
    fn a_binary_flood_has_what_no_string_can_hold_and_no_stray_newline() {
        let flood = Flood {
            binary: true,
            line_bytes: 1000,
            ..Flood::text(100_000)
        };
        let content: Vec<u8> = flood.content().collect();

        assert!(String::from_utf8(content.clone()).is_err());
        assert!(content.contains(&0));
        assert_eq!(content.iter().filter(|&&byte| byte == b'\n').count(), 100);
    }

    #[test]
    fn blocks_are_the_flood() {
        let flood = Flood::text(1000);
        let mut blocks = FloodBlocks::new(flood);
        let got: Vec<u8> = [300, 300, 300, 300]
            .into_iter()
            .flat_map(|bytes| blocks.next_block(bytes))
            .collect();
        assert_eq!(got, flood.content().collect::<Vec<u8>>());
        assert!(blocks.next_block(1).is_empty());
    }

    #[test]
    fn a_flood_without_newline_has_none() {
        let flood = Flood {
            no_newline: true,
            ..Flood::text(5000)
        };
        assert!(flood.content().all(|byte| byte != b'\n'));
    }
}
