//! The API's description, and the page that shows it.

use longhaul::model::{Author, Feature, MessageText, PageSize, Reason, Role, Status, Tag, Title};
use longhaul::server::{openapi, routes};
use serde_json::{Value, json};

use crate::support::TestApp;

#[test]
fn the_description_is_the_one_that_was_reviewed() {
    insta::assert_json_snapshot!("openapi", openapi());
}

#[tokio::test]
async fn the_description_is_served_to_whoever_is_signed_in() {
    let (_, anon, viewer, ..) = TestApp::init().await;
    anon.get("/api/openapi.json").await.assert_refused(401, "not_signed_in");
    let served = viewer.get("/api/openapi.json").await.json();
    assert_eq!(served, serde_json::to_value(openapi()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn what_is_read_is_compressed_where_that_is_worth_it_and_the_answer_to_a_report_is_not() {
    let (_, _, viewer, reporter, ..) = TestApp::init().await;
    let encoded = async |path: &str| {
        let asked = viewer.request("GET", path).header("accept-encoding", "br");
        asked.head().await.header("content-encoding").to_owned()
    };
    assert_eq!(encoded("/api/openapi.json").await, "br");
    assert_eq!(encoded("/api/admin/jobs/health").await, "", "a small answer travels as it is");
    let start = reporter.request("POST", "/api/admin/jobs/start").header("accept-encoding", "br");
    let started = start.json(&serde_json::json!({"feature": "import"})).send().await;
    assert_eq!((started.status().as_u16(), started.header("content-encoding")), (201, ""));
    assert!(started.json()["jobId"].is_string());
}

#[test]
fn every_route_says_what_it_answers_and_what_it_refuses() {
    let document = serde_json::to_value(openapi()).unwrap();
    let under_admin: Vec<(String, String)> =
        routes().0.into_iter().filter(|(_, path)| path.starts_with("/api/admin")).collect();
    assert!(under_admin.len() >= 20, "{under_admin:?}");
    for (method, path) in under_admin {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        assert!(operation["tags"][0].is_string(), "{method} {path} has no tag");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        let refuses = responses.keys().any(|status| status.starts_with('4'));
        assert!(refuses, "{method} {path} refuses nothing?");
        for (status, response) in responses {
            let response = resolved(&document, response);
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {path} {status}"
            );
            // What is refused for the length of its head is refused before anybody could write a sentence.
            if status == "431" {
                assert!(response["content"].is_null(), "{method} {path}");
            } else if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ErrorBody", "{method} {path} {status}");
            }
        }
        // What any request may meet.
        let mut shared = vec!["401", "403", "503"];
        if !operation["requestBody"].is_null() {
            shared.extend(["400", "413", "415"]);
        }
        for status in shared {
            assert!(responses.contains_key(status), "{method} {path} does not say {status}");
        }
    }
}

/// What a reference within the document refers to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

#[test]
fn programs_find_a_server_and_a_name_of_its_own_for_every_operation() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["servers"][0]["url"], "/");
    let mut names: Vec<&str> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_default();
            assert!(!name.is_empty() && !names.contains(&name), "{method} {path}: {name:?}");
            names.push(name);
        }
    }
    let links =
        document["paths"]["/api/admin/jobs/start"]["post"]["responses"]["201"]["links"].as_object().unwrap();
    for (link, target) in links {
        assert!(names.contains(&target["operationId"].as_str().unwrap()), "{link}");
    }
}

/// Asserts that a value has at least these properties.
#[track_caller]
fn assert_says(document: &Value, place: &str, expected: Value) {
    let found = resolved(document, document.pointer(place).expect(place));
    let Value::Object(expected) = expected else { panic!("{place} is compared with an object") };
    for (key, value) in expected {
        assert_eq!(found[&key], value, "{key} of {place}: {found}");
    }
}

#[test]
fn the_rules_of_values_are_the_ones_the_server_goes_by() {
    let document = serde_json::to_value(openapi()).unwrap();
    let property = |schema: &str, name: &str| format!("/components/schemas/{schema}/properties/{name}");
    for body in ["ReasonBody", "EmergencyBody"] {
        let rule = json!({"type": "string", "minLength": 1, "maxLength": Reason::MAX_CHARS});
        assert_says(&document, &property(body, "reason"), rule);
        assert_eq!(document["components"]["schemas"][body]["required"], json!(["reason"]));
    }
    let statuses: Vec<&str> = Status::ALL.into_iter().map(Status::name).collect();
    assert_says(&document, &property("JobDto", "status"), json!({"type": "string"}));
    assert_says(&document, "/components/schemas/Status", json!({"enum": statuses}));
    let roles: Vec<&str> = Role::ALL.into_iter().map(Role::name).collect();
    assert_says(&document, "/components/schemas/Role", json!({"enum": roles}));
    assert_says(&document, "/components/schemas/Level", json!({"enum": ["info", "warning", "error"]}));
    assert_says(&document, &property("StartBody", "feature"), json!({"maxLength": Feature::MAX_CHARS}));
    assert_says(&document, &property("StartBody", "title"), json!({"maxLength": Title::MAX_CHARS}));
    assert_says(&document, &property("StartBody", "author"), json!({"maxLength": Author::MAX_CHARS}));
    assert_says(&document, "/components/schemas/Label", json!({"maxLength": Tag::MAX_CHARS}));
    assert_says(&document, &property("MessageBody", "message"), json!({"maxLength": MessageText::MAX_BYTES}));
    for body in ["NewUserBody", "NewTokenBody"] {
        assert_says(
            &document,
            &property(body, "name"),
            json!({"minLength": 1, "maxLength": Author::MAX_CHARS}),
        );
    }
    assert_says(&document, &property("StepBody", "weight"), json!({"minimum": 0, "maximum": 1_000_000_000}));
    assert_says(&document, &property("NumberBody", "progress"), json!({"minimum": 0, "maximum": 1}));
    assert_says(&document, &property("AbortDto", "at"), json!({"type": "string", "format": "date-time"}));
    let parameter = |path: &str, name: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        parameters.iter().find(|parameter| parameter["name"] == name).expect(name)["schema"].clone()
    };
    let limit = parameter("/api/admin/jobs", "limit");
    assert_eq!((&limit["minimum"], &limit["maximum"]), (&json!(1), &json!(PageSize::MAX)));
    let limit = parameter("/api/admin/jobs/{id}/messages", "limit");
    assert_eq!((&limit["minimum"], &limit["maximum"]), (&json!(1), &json!(1000)));
    assert_eq!(parameter("/api/admin/jobs", "q")["maxLength"], json!(200));
    assert_eq!(parameter("/api/admin/jobs", "status"), json!({"$ref": "#/components/schemas/Status"}));
}

#[test]
fn every_field_of_every_shape_is_described() {
    let document = serde_json::to_value(openapi()).unwrap();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = |value: &Value| value["description"].is_string();
            let in_parts = ["oneOf", "allOf"]
                .iter()
                .any(|key| property[key].as_array().into_iter().flatten().any(described));
            assert!(described(property) || in_parts, "{name}.{field} says nothing");
            assert!(!field.contains('_'), "{name}.{field} is not camelCase");
        }
    }
}

#[tokio::test]
async fn the_reference_is_a_page_of_ours_that_shows_every_operation_and_shape() {
    let (_, anon, viewer, ..) = TestApp::init().await;
    assert_eq!(anon.page("/api/docs").await.location(), "/login?next=/api/docs");
    let page = viewer.page("/api/docs").await;
    assert_eq!(page.status(), 200);
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("script-src 'nonce-") && !policy.contains("unsafe-inline"), "{policy}");
    let text = page.text();
    assert!(
        text.contains("href=\"/admin/jobs\"") && text.contains("href=\"/api/openapi.json\""),
        "no way on"
    );
    assert!(!text.contains(" style=") && !text.contains("http-equiv"), "the policy lets no style in");
    let document = serde_json::to_value(openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(text.contains(&format!("id=\"{name}\"")), "{method} {path} is not there");
            assert!(text.contains(&format!("href=\"#{name}\"")), "{method} {path} is not in the contents");
            let address = path.replace("{id}", "$JOB").replace("{name}", "$NAME");
            assert!(text.contains(&format!("$LONGHAUL_SERVER{address}")), "{method} {path} has no example");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("id=\"shape-{name}\"")), "{name} is not there");
    }
    // Every link within the page leads somewhere.
    for link in text.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(text.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
}

#[tokio::test]
async fn the_references_old_address_leads_to_it() {
    let (_, anon, viewer, ..) = TestApp::init().await;
    assert_eq!(anon.page("/api/docs/").await.location(), "/login?next=/api/docs/");
    assert_eq!(viewer.page("/api/docs/").await.location(), "/api/docs");
    viewer.get("/api/docs/swagger-ui.css").await.assert_refused(404, "no_such_path");
}

/// The example calls, as the page shows them: what follows `-d` is sent to where they go.
#[tokio::test]
async fn the_bodies_of_the_examples_are_taken() {
    let (.., admin) = TestApp::init().await;
    let job = admin.start("import").await;
    let reference = longhaul::view::ApiReference::of(&serde_json::to_value(openapi()).unwrap());
    let mut sent = 0;
    for operation in reference.groups.iter().flat_map(|group| &group.operations) {
        let Some((_, rest)) = operation.example.split_once("-d '") else { continue };
        let body: Value = serde_json::from_str(rest.split_once("' \\\n").unwrap().0).unwrap();
        let reply = admin.post(&operation.path.replace("{id}", &job.id), body).await;
        assert!(
            reply.status().is_success() || reply.status() == 409,
            "{}: {}",
            operation.example,
            reply.text()
        );
        sent += 1;
    }
    assert!(sent >= 8, "{sent}");
}

#[tokio::test]
async fn a_cursor_is_as_the_description_says() {
    let (_, _, _, reporter, ..) = TestApp::init().await;
    for _ in 0..2 {
        reporter.start("import").await;
    }
    let page = reporter.get("/api/admin/jobs?limit=1").await.json();
    let cursor = page["nextCursor"].as_str().unwrap();
    let (at, id) = cursor[1..].split_once('.').unwrap();
    assert!(cursor.starts_with(['o', 'p']) && at.parse::<i64>().is_ok() && at.len() <= 18, "{cursor}");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{cursor}");
}
