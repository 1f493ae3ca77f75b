//! The API's description, and the page that shows it.

use longhaul::server::{openapi, routes};
use serde_json::Value;

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
        // The sweep takes nothing that could be wrong.
        assert!(refuses || method == "GET" || path.ends_with("/cleanup"), "{method} {path} refuses nothing?");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('4')) {
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/ErrorBody", "{method} {path} {status}");
        }
    }
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
async fn the_reference_page_loads_nothing_from_elsewhere() {
    let (_, anon, viewer, ..) = TestApp::init().await;
    assert_eq!(anon.page("/api/docs/").await.location(), "/login?next=/api/docs/");
    let page = viewer.page("/api/docs/").await;
    assert_eq!(page.status(), 200);
    let text = page.text().to_lowercase();
    assert!(text.contains("swagger"), "{text}");
    for (tag, attribute) in [("<script", "src="), ("<link", "href=")] {
        for part in text.split(tag).skip(1) {
            let tag = part.split('>').next().unwrap();
            let Some((_, value)) = tag.split_once(attribute) else { continue };
            let value = value.trim_start_matches(['"', '\'']);
            assert!(!value.starts_with("http") && !value.starts_with("//"), "{tag}");
            let file = value.split(['"', '\'']).next().unwrap().trim_start_matches("./");
            assert_eq!(viewer.get(&format!("/api/docs/{file}")).await.status(), 200, "{file}");
        }
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("http"), "{policy}");
    let redirected = viewer.page("/api/docs").await;
    assert!(redirected.status().is_redirection() || redirected.status() == 200, "{}", redirected.status());
}
