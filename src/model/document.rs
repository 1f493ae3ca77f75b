//! What a job works on and what came of it: any JSON, as long as it can be read back.
//!
//! A store writes such a document inside of others, the job and the entry of its log, and an export writes it
//! inside of one more. A reader of JSON goes only so deep, so what is given may go less deep; and a name
//! that the library that reads it takes for one of its own would be read as something else.

use serde_json::Value;

use super::text::Invalid;

/// How deep lists and objects may lie in one another.
pub const MAX_DEPTH: usize = 64;

/// How `serde_json` begins the names by which it tells its own wrappers from data.
const RESERVED: &str = "$serde_json::private::";

/// Checks that a document can be read back wherever it is written.
pub fn check_document(field: &str, document: &Value) -> Result<(), Invalid> {
    check_to_depth(field, document, MAX_DEPTH)
}

/// The same for one that comes out of an export. What was read inside of that, however deep, is read back from
/// where it is stored; and older versions took what goes deeper.
pub fn check_imported_document(field: &str, document: &Value) -> Result<(), Invalid> {
    const DEEPEST_READ: usize = 128;
    check_to_depth(field, document, DEEPEST_READ)
}

fn check_to_depth(field: &str, document: &Value, depth: usize) -> Result<(), Invalid> {
    let mut level = vec![document];
    for _ in 0..=depth {
        let mut below = Vec::new();
        for value in level {
            match value {
                Value::Array(values) => below.extend(values),
                Value::Object(fields) => {
                    if fields.keys().any(|name| name.starts_with(RESERVED)) {
                        return Err(Invalid::new(
                            field,
                            format!("must have no name that begins with {RESERVED}"),
                        ));
                    }
                    below.extend(fields.values());
                }
                _ => {}
            }
        }
        if below.is_empty() {
            return Ok(());
        }
        level = below;
    }
    Err(Invalid::new(field, format!("may be nested {depth} deep at most")))
}

/// Checks that no number of a document, as JSON, would be changed by being kept: a whole number has 64 bits at
/// most, another 17 digits and the reach of a double.
pub fn check_numbers(field: &str, json: &str) -> Result<(), Invalid> {
    let mut rest = json;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[start..];
        if rest.starts_with('"') {
            rest = after_text(rest);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        if !is_kept(number) {
            let problem = format!(
                "has a number that would be changed, {}: a whole number may have 64 bits, another 17 digits. Send \
                 it as a text",
                super::text::shorten(number, 60)
            );
            return Err(Invalid::new(field, problem));
        }
        rest = after;
    }
    Ok(())
}

/// What comes after the text that `json` begins with.
fn after_text(json: &str) -> &str {
    let mut escaped = false;
    for (at, c) in json.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &json[at + 1..],
            _ => {}
        }
    }
    ""
}

fn is_kept(number: &str) -> bool {
    if number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0').trim_end_matches('0');
    // What is so small that a double calls it nothing would be changed, too.
    number.parse::<f64>().is_ok_and(|value| value.is_finite() && (value == 0.0) == digits.is_empty())
        && digits.len() <= 17
}

/// A document in the one form that every way to write it has: `1.0` is `1`.
pub fn canonical(document: &Value) -> Value {
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    match document {
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() <= WHOLE => {
                Value::from(value as i64)
            }
            _ => document.clone(),
        },
        Value::Array(values) => values.iter().map(canonical).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), canonical(value))).collect()
        }
        _ => document.clone(),
    }
}

/// About how long a document is as JSON, in bytes.
pub fn document_bytes(document: &Value) -> usize {
    match document {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 2 + values.iter().map(|value| document_bytes(value) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + 4 + document_bytes(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(
            json!(1),
            |value, number| if number % 2 == 0 { json!([value]) } else { json!({"a": value}) },
        )
    }

    /// As deep inside of others as an export puts it, and more.
    fn reads_back(document: &Value) -> bool {
        let wrapped = (0..20).fold(document.clone(), |value, _| json!({"spec": value}));
        let text = serde_json::to_string(&wrapped).unwrap();
        serde_json::from_str::<Value>(&text).is_ok_and(|read| read == wrapped)
    }

    #[test]
    fn a_document_that_goes_too_deep_is_refused() {
        assert_eq!(check_document("input", &nested(MAX_DEPTH)), Ok(()));
        let refused = check_document("input", &nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(refused.to_string(), "input may be nested 64 deep at most");
        assert!(check_document("input", &nested(1_000)).is_err());
    }

    /// The name is read as the wrapper only where it comes first, and sorting brings it there.
    #[test]
    fn a_name_that_is_taken_for_a_wrapper_is_refused_wherever_it_stands() {
        let text = r#"{"a": 1, "b": [{"Z": 1, "$serde_json::private::RawValue": "x"}]}"#;
        let document: Value = serde_json::from_str(text).unwrap();
        assert!(check_document("output", &document).is_err());
        assert!(!reads_back(&document), "the check would be for nothing");
        assert_eq!(check_document("output", &json!({"$serde_json": 1, "$": {"private": 2}})), Ok(()));
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let name =
            prop_oneof![Just("$serde_json::private::Number".to_owned()), "[a-z$]{0,3}", any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back(document in any_document()) {
            if check_document("input", &document).is_ok() {
                prop_assert!(reads_back(&document));
            }
        }
    }
}
