//! Reading JSON as the API's description means it, where serde's derived code reads it otherwise.
//!
//! - An object is an object. serde takes a list of its fields' values as well: `[null, 3]` for
//!   `{"output": null, "epoch": 3}`.
//! - A whole number is whole however it is written. JSON has one kind of number, some languages write `60.0`, and
//!   serde takes that for no integer.
//!
//! [`AsDescribed`] stands before a deserialiser, asks it for a map where a struct is wanted, at every depth, and passes
//! everything else on.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A deserialiser, visitor, seed or access under which JSON is read so.
pub struct AsDescribed<T>(pub T);

/// A visitor of whole numbers.
struct Whole<V>(V);

/// Up to here, 2^53, a float is one whole number and no other.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Methods that hand the visitor on, with it standing under [`AsDescribed`] as well.
macro_rules! passed_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* AsDescribed(visitor))
        }
    )*};
}

/// Methods that are asked for a whole number.
macro_rules! whole {
    ($($method:ident();)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Whole(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AsDescribed<D> {
    type Error = D::Error;

    passed_on! {
        deserialize_any(); deserialize_bool(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_f32(); deserialize_f64(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_option(); deserialize_unit(); deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str); deserialize_seq(); deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier(); deserialize_ignored_any();
    }

    whole! {
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(AsDescribed(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Values without parts: the visitor gets them as they are.
macro_rules! as_they_are {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Whole<V> {
    type Value = V::Value;

    as_they_are! {
        visit_i64(i64); visit_i128(i128); visit_u64(u64); visit_u128(u128);
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        if value.fract() == 0.0 && value.abs() <= MOST_EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within an i64")]
            let whole = value as i64;
            return self.0.visit_i64(whole);
        }
        self.0.visit_f64(value)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for AsDescribed<V> {
    type Value = V::Value;

    as_they_are! {
        visit_bool(bool); visit_char(char);
        visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128);
        visit_u8(u8); visit_u16(u16); visit_u32(u32); visit_u64(u64); visit_u128(u128);
        visit_f32(f32); visit_f64(f64);
        visit_str(&str); visit_borrowed_str(&'de str); visit_string(String);
        visit_bytes(&[u8]); visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(AsDescribed(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(AsDescribed(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(AsDescribed(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(AsDescribed(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(AsDescribed(choice))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for AsDescribed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(AsDescribed(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for AsDescribed<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(AsDescribed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for AsDescribed<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        // A key has no parts.
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(AsDescribed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for AsDescribed<A> {
    type Error = A::Error;
    type Variant = AsDescribed<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, rest) = self.0.variant_seed(seed)?;
        Ok((variant, AsDescribed(rest)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for AsDescribed<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(AsDescribed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, AsDescribed(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, AsDescribed(visitor))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Outer {
        count: Option<u64>,
        inner: Option<Inner>,
        many: Vec<Inner>,
        any: Value,
    }

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Inner {
        name: String,
    }

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = T::deserialize(AsDescribed(&mut json))?;
        json.end()?;
        Ok(value)
    }

    #[test]
    fn a_list_is_no_object_at_any_depth() {
        for text in [
            r#"[1, null, [], null]"#,
            r#"{"count": 1, "inner": ["a"], "many": [], "any": null}"#,
            r#"{"count": 1, "inner": null, "many": [["a"]], "any": null}"#,
        ] {
            assert!(serde_json::from_str::<Outer>(text).is_ok(), "{text}");
            let refused = read::<Outer>(text).unwrap_err().to_string();
            assert!(refused.contains("invalid type: sequence"), "{text}: {refused}");
        }
        assert!(read::<Option<Inner>>(r#"["a"]"#).is_err());
        assert!(read::<Vec<Inner>>(r#"[["a"]]"#).is_err());
    }

    #[test]
    fn everything_else_is_read_as_without() {
        let text = r#"{"count": 18446744073709551615, "inner": {"name": "a"}, "many": [{"name": "b"}], "any": [1, {"x": [2.5]}]}"#;
        assert_eq!(read::<Outer>(text).unwrap(), serde_json::from_str::<Outer>(text).unwrap());
        assert_eq!(read::<Option<Outer>>("null").unwrap(), None);
        assert!(read::<Outer>(r#"{"many": []}"#).is_err(), "`any` is missing");
    }

    #[test]
    fn a_whole_number_is_whole_however_it_is_written() {
        for (text, expected) in
            [("60.0", 60), ("6e1", 60), ("0.0", 0), ("-0.0", 0), ("9007199254740992.0", 1 << 53)]
        {
            assert_eq!(read::<Option<u64>>(text).unwrap(), Some(expected), "{text}");
        }
        assert_eq!(read::<Vec<i32>>("[-1.0, 1]").unwrap(), [-1, 1]);
        for text in ["60.5", "-1.0", "1e300", "9007199254740993.5", "18446744073709551616", "\"60\""] {
            assert!(read::<u64>(text).is_err(), "{text}");
        }
        assert!(read::<u32>("4294967296.0").is_err());
        assert_eq!(read::<Value>("[60.0]").unwrap().to_string(), "[60.0]", "what is kept is kept as it is");
    }

    #[test]
    fn raw_text_stays_as_it_was_written() {
        let raw: Option<Box<serde_json::value::RawValue>> = read(r#"{"a": 1.0, "b": [1e400]}"#).unwrap();
        assert_eq!(raw.unwrap().get(), r#"{"a": 1.0, "b": [1e400]}"#);
    }

    proptest! {
        #[test]
        fn any_json_comes_through_unchanged(text in "[\\[\\]{}\",:0-9a-z. ]{0,24}|\"\\PC*\"|-?[0-9]{1,25}(\\.[0-9]{1,9})?") {
            match (read::<Value>(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(read), Ok(expected)) => prop_assert_eq!(read, expected),
                (read, expected) => prop_assert_eq!(read.is_ok(), expected.is_ok(), "{}", text),
            }
        }
    }
}
