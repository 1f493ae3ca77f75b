//! Numbers in as few bytes as they need: seven bits a byte, the last first, and a bit that says whether more
//! follow. What may be negative is folded first, so that what is near zero stays short.

/// Adds a number.
pub(super) fn put(bytes: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Takes a number off the front; 0 where there is none. Bits beyond what a number has are dropped: the check
/// of the store tells.
pub(super) fn take(bytes: &mut &[u8]) -> u128 {
    let (mut value, mut shift) = (0_u128, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
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

/// 0, -1, 1, -2, 2 … as 0, 1, 2, 3, 4 …
pub(super) fn fold(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

/// What was folded.
pub(super) fn unfold(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// A number that may be missing, which is 0.
pub(super) fn fold_maybe(value: Option<i128>) -> u128 {
    value.map_or(0, |value| fold(value) + 1)
}

/// What was folded.
pub(super) fn unfold_maybe(value: u128) -> Option<i128> {
    value.checked_sub(1).map(unfold)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(
            numbers in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>()), 0..8),
        ) {
            let mut bytes = Vec::new();
            for (count, signed, maybe) in &numbers {
                put(&mut bytes, u128::from(*count));
                put(&mut bytes, fold(i128::from(*signed) - i128::from(i64::MAX)));
                put(&mut bytes, fold_maybe(maybe.map(i128::from)));
            }
            let mut left = bytes.as_slice();
            for (count, signed, maybe) in numbers {
                prop_assert_eq!(take(&mut left), u128::from(count));
                prop_assert_eq!(unfold(take(&mut left)), i128::from(signed) - i128::from(i64::MAX));
                prop_assert_eq!(unfold_maybe(take(&mut left)), maybe.map(i128::from));
            }
            prop_assert_eq!((left.len(), take(&mut left)), (0, 0));
        }
    }

    #[test]
    fn small_numbers_take_a_byte() {
        let mut bytes = Vec::new();
        for number in [1, 0, 127] {
            put(&mut bytes, number);
        }
        assert_eq!(bytes, [1, 0, 127]);
    }
}
