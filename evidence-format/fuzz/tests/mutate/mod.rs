//! Mutations of valid inputs, the same in each run.

use fuzz::parts;

/// Numbers at the limits of types and of the format.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    255,
    65_535,
    65_536,
    2_097_152,
    4_294_967_295,
    1 << 33,
    (1 << 44) + 1,
    (1 << 53) - 1,
    1 << 53,
    1 << 63,
    u64::MAX,
];

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators,
/// scrambled").
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`, or 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }
}

/// Makes inputs by mutating seeds.
pub(crate) struct Mutator<'s> {
    random: Xorshift,
    seeds: &'s [Vec<u8>],
    /// Seeds are joined parts: mutate only inside one part.
    in_parts: bool,
}

impl<'s> Mutator<'s> {
    pub(crate) fn new(start: u64, seeds: &'s [Vec<u8>], in_parts: bool) -> Self {
        Self {
            random: Xorshift(start | 1 << 40),
            seeds,
            in_parts,
        }
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let seed = &self.seeds[self.random.below(self.seeds.len())];
        if !self.in_parts {
            return self.mutated(seed.clone());
        }
        let mut parts = parts::split(seed);
        let chosen = self.random.below(parts.len());
        let part = std::mem::take(&mut parts[chosen]);
        parts[chosen] = self.mutated(part);
        parts::join(&parts)
    }

    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.random.below(4) {
            self.mutate(&mut bytes);
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.below(bytes.len());
        let len = self.random.below((bytes.len() - at).min(64));
        match self.random.below(10) {
            0 => {
                bytes.drain(at..at + len);
            }
            1 => bytes.truncate(at),
            2 => {
                let copy = bytes[at..at + len].to_vec();
                let to = self.random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            3 => {
                let other = &self.seeds[self.random.below(self.seeds.len())];
                let from = self.random.below(other.len());
                let to = (from + self.random.below(256)).min(other.len());
                bytes.splice(at..at + len, other[from..to].iter().copied());
            }
            4 => {
                let byte = self.random.next() as u8;
                bytes.splice(at..at, std::iter::repeat_n(byte, 1 + len));
            }
            5 => self.binary_number(bytes, at),
            6 | 7 => self.decimal_number(bytes, at),
            _ if bytes.is_empty() => bytes.push(self.random.next() as u8),
            8 => bytes[at] ^= 1 << self.random.below(8),
            _ => bytes[at] = self.random.next() as u8,
        }
    }

    fn binary_number(&mut self, bytes: &mut [u8], at: usize) {
        let number = NUMBERS[self.random.below(NUMBERS.len())].to_le_bytes();
        let size = [1, 2, 3, 4, 8][self.random.below(5)].min(bytes.len() - at);
        bytes[at..at + size].copy_from_slice(&number[..size]);
    }

    /// Replaces the next decimal number, or a digit of it.
    fn decimal_number(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(from) = bytes[at..]
            .iter()
            .position(u8::is_ascii_digit)
            .map(|i| at + i)
        else {
            return;
        };
        if self.random.below(2) == 0 {
            bytes[from] = b'0' + self.random.below(10) as u8;
            return;
        }
        let digits = bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let number = NUMBERS[self.random.below(NUMBERS.len())].to_string();
        bytes.splice(from..from + digits, number.into_bytes());
    }
}
