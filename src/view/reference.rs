//! The API's description as people read it: groups of operations, the shapes of what goes in and out, an example
//! for each.
//!
//! It is read from the OpenAPI document itself, so that page and document cannot disagree. Read leniently: what the
//! document does not say is not shown.

use serde_json::{Map, Value, json};

/// The API, as a page shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiReference {
    /// The version of the program.
    pub version: String,
    /// What holds for all operations: paragraphs, apart by blank lines.
    pub intro: String,
    /// The operations, by subject.
    pub groups: Vec<Group>,
    /// What any operation may be refused for.
    pub refusals: Vec<Answer>,
    /// The shapes that operations take and answer, by name.
    pub shapes: Vec<Shape>,
}

/// Operations on one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What they do.
    pub description: String,
    /// The operations.
    pub operations: Vec<Operation>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its name for programs, and its anchor.
    pub id: String,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path, with `{…}` where something is put in.
    pub path: String,
    /// What it does, in a few words.
    pub summary: String,
    /// More of that; may be empty.
    pub description: String,
    /// What goes into path, query and headers.
    pub parameters: Vec<Field>,
    /// The request's body, where it takes one.
    pub body: Option<Body>,
    /// What it answers.
    pub answers: Vec<Answer>,
    /// The statuses of [`ApiReference::refusals`] it may answer besides.
    pub shared: Vec<String>,
    /// A call that works, for a shell.
    pub example: String,
}

/// A request's body.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// What it is.
    pub kind: Kind,
    /// Whether there must be one.
    pub required: bool,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: String,
    /// When it comes.
    pub description: String,
    /// What it carries.
    pub kind: Option<Kind>,
    /// Headers of its own, and what they say.
    pub headers: Vec<(String, String)>,
}

/// A named value: a parameter, or a field of a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// `path`, `query` or `header` of a parameter.
    pub place: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What else holds for it: "1 to 100 characters".
    pub rules: Vec<String>,
    /// What it means.
    pub description: String,
}

/// A shape of the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Its name, and its anchor.
    pub name: String,
    /// What it stands for.
    pub description: String,
    /// What it is, where it is no object.
    pub kind: Option<Kind>,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// What a value is, in words, some of which name a shape.
pub type Kind = Vec<Word>;

/// A part of a [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// Plain words.
    Text(String),
    /// The name of a shape.
    Shape(String),
    /// A word to be written exactly so.
    Exactly(String),
}

const METHODS: [(&str, &str); 5] =
    [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];

/// How deep an example goes: shapes may hold themselves.
const EXAMPLE_DEPTH: usize = 4;

impl ApiReference {
    /// Reads an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let operations = || {
            let paths = entries(&document["paths"]);
            paths.flat_map(|(path, item)| {
                METHODS.into_iter().filter_map(move |(key, method)| Some((path, method, item.get(key)?)))
            })
        };
        let groups = elements(&document["tags"]).map(|tag| Group {
            name: text(&tag["name"]),
            description: text(&tag["description"]),
            operations: operations()
                .filter(|(.., operation)| operation["tags"][0] == tag["name"])
                .map(|(path, method, operation)| read_operation(document, path, method, operation))
                .collect(),
        });
        let mut refusals: Vec<Answer> = entries(&document["components"]["responses"])
            .filter_map(|(name, response)| {
                let shared = format!("#/components/responses/{name}");
                let status = operations().find_map(|(.., operation)| {
                    entries(&operation["responses"]).find(|(_, response)| response["$ref"] == shared)
                });
                Some(read_answer(status?.0, response))
            })
            .collect();
        refusals.sort_by(|one, two| one.status.cmp(&two.status));
        Self {
            version: text(&document["info"]["version"]),
            intro: text(&document["info"]["description"]),
            groups: groups.filter(|group| !group.operations.is_empty()).collect(),
            refusals,
            shapes: entries(&document["components"]["schemas"])
                .map(|(name, schema)| read_shape(name, schema))
                .collect(),
        }
    }
}

fn read_operation(document: &Value, path: &str, method: &'static str, operation: &Value) -> Operation {
    let content = &operation["requestBody"]["content"]["application/json"]["schema"];
    let body = operation
        .get("requestBody")
        .map(|body| Body { kind: kind_of(content, false), required: body["required"] == true });
    let (shared, own): (Vec<_>, Vec<_>) =
        entries(&operation["responses"]).partition(|(_, response)| response.get("$ref").is_some());
    Operation {
        id: text(&operation["operationId"]),
        method,
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: text(&operation["description"]),
        parameters: elements(&operation["parameters"])
            .map(|parameter| Field {
                place: parameter["in"].as_str().map(str::to_owned),
                required: parameter["required"] == true,
                description: text(&parameter["description"]),
                ..read_field(parameter["name"].as_str().unwrap_or_default(), &parameter["schema"])
            })
            .collect(),
        example: example_call(document, path, method, body.as_ref().map(|body| (body.required, content))),
        body,
        answers: own.into_iter().map(|(status, response)| read_answer(status, response)).collect(),
        shared: shared.into_iter().map(|(status, _)| status.clone()).collect(),
    }
}

fn read_answer(status: &str, response: &Value) -> Answer {
    let content = entries(&response["content"]).next();
    Answer {
        status: status.to_owned(),
        description: text(&response["description"]),
        kind: content.map(|(media, content)| match media.as_str() {
            "application/json" => kind_of(&content["schema"], false),
            other => vec![Word::Exactly(other.to_owned())],
        }),
        headers: entries(&response["headers"])
            .map(|(name, header)| (name.clone(), text(&header["description"])))
            .collect(),
    }
}

fn read_shape(name: &str, schema: &Value) -> Shape {
    let required: Vec<&Value> = elements(&schema["required"]).collect();
    let fields: Vec<Field> = entries(&schema["properties"])
        .map(|(name, property)| Field {
            required: required.iter().any(|required| *required == name),
            ..read_field(name, property)
        })
        .collect();
    Shape {
        name: name.to_owned(),
        description: text(&schema["description"]),
        kind: fields.is_empty().then(|| kind_of(schema, false)),
        fields,
    }
}

fn read_field(name: &str, schema: &Value) -> Field {
    // Of a value that may be null, the description may stand with the alternative that says what else it is.
    let alternatives = ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|key| elements(&schema[key]));
    let described = std::iter::once(schema).chain(alternatives).find(|part| part["description"].is_string());
    Field {
        name: name.to_owned(),
        place: None,
        kind: kind_of(schema, true),
        required: false,
        rules: rules_of(schema),
        description: described.map(|part| text(&part["description"])).unwrap_or_default(),
    }
}

/// What a schema describes. `null` goes without saying where something may be absent (`optional`).
fn kind_of(schema: &Value, optional: bool) -> Kind {
    if let Some(name) = shape_name(schema) {
        return vec![Word::Shape(name.to_owned())];
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        let is_null = |part: &&Value| part["type"] == "null";
        let parts: Vec<Kind> = elements(&schema[key])
            .filter(|part| !is_null(part))
            .map(|part| kind_of(part, optional))
            .collect();
        if !parts.is_empty() {
            return joined(parts);
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        return joined(words.iter().map(|word| vec![Word::Exactly(text(word))]).collect());
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let parts = types.iter().filter(|name| !optional || **name != "null" || types.len() == 1).map(|name| {
        let words = match (*name, schema["format"].as_str()) {
            ("string", Some("date-time")) => "time",
            ("string", Some("uuid")) => "UUID",
            ("string", _) => "text",
            ("integer", _) => "whole number",
            ("number", _) => "number",
            ("boolean", _) => "true or false",
            ("object", _) => "object",
            ("array", _) => {
                let mut kind = vec![Word::Text("list of ".to_owned())];
                kind.extend(kind_of(&schema["items"], optional));
                return kind;
            }
            (other, _) => other,
        };
        vec![Word::Text(words.to_owned())]
    });
    let parts: Vec<Kind> = parts.collect();
    if parts.is_empty() { vec![Word::Text("any JSON".to_owned())] } else { joined(parts) }
}

fn joined(parts: Vec<Kind>) -> Kind {
    let mut kind = Kind::new();
    for part in parts {
        if !kind.is_empty() {
            kind.push(Word::Text(" or ".to_owned()));
        }
        kind.extend(part);
    }
    kind
}

/// What else holds for a value.
fn rules_of(schema: &Value) -> Vec<String> {
    let range = |low: &str, high: &str, unit: &str| {
        let (low, high) = (&schema[low], &schema[high]);
        match (low.is_null(), high.is_null()) {
            (true, true) => None,
            (false, true) if low == &json!(0) => None,
            (false, true) => Some(format!("{low} or more{unit}")),
            (true, false) => Some(format!("at most {high}{unit}")),
            (false, false) => Some(format!("{low} to {high}{unit}")),
        }
    };
    let rules = [
        range("minLength", "maxLength", " characters"),
        range("minimum", "maximum", ""),
        range("minItems", "maxItems", " entries"),
        schema["pattern"].as_str().map(|pattern| match pattern {
            "\\S" => "not blank".to_owned(),
            other => format!("as `{other}`"),
        }),
        schema.get("default").map(|default| format!("`{default}` where absent")),
    ];
    rules.into_iter().flatten().collect()
}

/// A call for a shell that has the server's address and a token in its variables.
fn example_call(document: &Value, path: &str, method: &'static str, body: Option<(bool, &Value)>) -> String {
    let mut lines = vec!["curl -H \"Authorization: Bearer $LONGHAUL_TOKEN\"".to_owned()];
    let sent = body.and_then(|(required, schema)| {
        let example = example_of(document, schema, 0);
        // What may be left out is shown only where it says something.
        (required || example.as_object().is_some_and(|object| !object.is_empty())).then_some(example)
    });
    match (method, &sent) {
        ("GET", _) | ("POST", Some(_)) => {}
        _ => lines[0].push_str(&format!(" -X {method}")),
    }
    if let Some(sent) = sent {
        lines.push("-H 'Content-Type: application/json'".to_owned());
        lines.push(format!("-d '{}'", sent.to_string().replace('\'', "'\\''")));
    }
    let address = path.replace("{id}", "$JOB").replace("{name}", "$NAME");
    lines.push(format!("\"$LONGHAUL_SERVER{address}\""));
    lines.join(" \\\n  ")
}

fn example_of(document: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(name) = shape_name(schema) {
        return example_of(document, &document["components"]["schemas"][name], depth);
    }
    let first = ["example", "default"].into_iter().find_map(|key| schema.get(key));
    if let Some(given) = first.or_else(|| schema["examples"].get(0)).or_else(|| schema["enum"].get(0)) {
        return given.clone();
    }
    if let Some(part) = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|key| schema[key].get(0)) {
        return example_of(document, part, depth);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") if depth < EXAMPLE_DEPTH => {
            let required = elements(&schema["required"]).filter_map(Value::as_str);
            let fields = required
                .map(|name| (name.to_owned(), example_of(document, &schema["properties"][name], depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") if depth < EXAMPLE_DEPTH => json!([example_of(document, &schema["items"], depth + 1)]),
        Some("string") => json!("…"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

fn shape_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: &[Word]) -> String {
        let word = |word: &Word| match word {
            Word::Text(text) => text.clone(),
            Word::Shape(name) => format!("<{name}>"),
            Word::Exactly(word) => format!("`{word}`"),
        };
        kind.iter().map(word).collect()
    }

    #[test]
    fn kinds_are_said_in_words() {
        for (schema, expected) in [
            (json!({"type": "string"}), "text"),
            (json!({"type": ["string", "null"], "format": "date-time"}), "time"),
            (json!({"type": "array", "items": {"$ref": "#/components/schemas/Step"}}), "list of <Step>"),
            (json!({"oneOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}), "<A>"),
            (json!({"type": "string", "enum": ["a", "b"]}), "`a` or `b`"),
            (json!({}), "any JSON"),
            (json!({"type": "null"}), "null"),
        ] {
            assert_eq!(words(&kind_of(&schema, true)), expected, "{schema}");
        }
    }

    #[test]
    fn rules_are_said_in_words() {
        let rules = |schema| rules_of(&schema).join(", ");
        assert_eq!(
            rules(json!({"minLength": 1, "maxLength": 100, "pattern": "\\S"})),
            "1 to 100 characters, not blank"
        );
        assert_eq!(rules(json!({"minimum": 0})), "", "it goes without saying");
        assert_eq!(
            rules(json!({"minimum": 1, "maximum": 200, "default": 50})),
            "1 to 200, `50` where absent"
        );
    }

    #[test]
    fn an_example_holds_what_must_be_there_and_nothing_else() {
        let document = json!({"components": {"schemas": {
            "Tree": {"type": "object", "required": ["id", "parts"], "properties": {
                "id": {"type": "string", "example": "it's"},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
                "note": {"type": "string"},
            }},
        }}});
        let body = json!({"$ref": "#/components/schemas/Tree"});
        let call = example_call(&document, "/api/{id}/x", "POST", Some((true, &body)));
        assert!(call.contains("-d '{\"id\":\"it'\\''s\",\"parts\":[{"), "{call}");
        assert!(call.ends_with("\"$LONGHAUL_SERVER/api/$JOB/x\"") && !call.contains("note"), "{call}");
        assert!(example_call(&document, "/api", "DELETE", None).contains(" -X DELETE"));
    }

    #[test]
    fn a_document_that_says_nothing_makes_an_empty_page() {
        for document in
            [json!(null), json!({}), json!({"paths": {"/a": {"get": {}}}, "tags": [{"name": "x"}]})]
        {
            assert_eq!(ApiReference::of(&document).groups, []);
        }
    }
}
