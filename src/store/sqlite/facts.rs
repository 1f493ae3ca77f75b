//! The numbers of a job that no query looks at, in as few bytes as they need.
//!
//! A finished job has some twenty of them, most small or zero. As columns each costs a byte before it says
//! anything, and a time six; here a number is a varint (seven bits a byte, the last first), a time is the
//! distance to another one, and zeros at the end are left out. Their order is fixed: a number is only ever
//! added at the end. Given up: reading them with the `sqlite3` program; `longhaul export` shows them.

/// Puts numbers one after another.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>, usize);

impl Packer {
    /// A number.
    pub(super) fn put(&mut self, value: impl Into<u128>) {
        let mut value = value.into();
        let zero = value == 0;
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        if !zero {
            self.1 = self.0.len();
        }
    }

    /// A number that may be negative.
    pub(super) fn put_signed(&mut self, value: i128) {
        self.put(zigzag(value));
    }

    /// A number that may be negative, or missing.
    pub(super) fn put_maybe(&mut self, value: Option<i128>) {
        self.put(value.map_or(0, |value| zigzag(value) + 1));
    }

    /// The bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.truncate(self.1);
        self.0
    }
}

fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// Takes numbers one after another. What is missing at the end is zero.
pub(super) struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number. Bits beyond what a number has are dropped: the check of the store tells.
    pub(super) fn take(&mut self) -> u128 {
        let (mut value, mut shift) = (0_u128, 0);
        while let Some((&byte, rest)) = self.0.split_first() {
            self.0 = rest;
            if shift < 128 {
                value |= u128::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    pub(super) fn count(&mut self) -> u64 {
        self.take() as u64
    }

    pub(super) fn small(&mut self) -> u32 {
        self.take() as u32
    }

    pub(super) fn take_signed(&mut self) -> i128 {
        unzigzag(self.take())
    }

    pub(super) fn take_maybe(&mut self) -> Option<i128> {
        match self.take() {
            0 => None,
            value => Some(unzigzag(value - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(
            numbers in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>()), 0..8),
        ) {
            let mut packer = Packer::default();
            for (count, signed, maybe) in &numbers {
                packer.put(*count);
                packer.put_signed(i128::from(*signed) - i128::from(i64::MAX));
                packer.put_maybe(maybe.map(i128::from));
            }
            let bytes = packer.finish();
            let mut unpacker = Unpacker::new(&bytes);
            for (count, signed, maybe) in numbers {
                prop_assert_eq!(unpacker.count(), count);
                prop_assert_eq!(unpacker.take_signed(), i128::from(signed) - i128::from(i64::MAX));
                prop_assert_eq!(unpacker.take_maybe(), maybe.map(i128::from));
            }
            prop_assert_eq!(unpacker.take(), 0);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut unpacker = Unpacker::new(&bytes);
            for _ in 0..30 {
                unpacker.take_maybe();
            }
        }
    }

    #[test]
    fn small_numbers_take_a_byte_and_zeros_at_the_end_none() {
        let mut packer = Packer::default();
        for number in [1_u32, 0, 127, 0, 0] {
            packer.put(number);
        }
        assert_eq!(packer.finish(), [1, 0, 127]);
    }
}
