//! `/api/admin/users` and `/api/admin/tokens`.

use std::time::Duration;

use longhaul::model::Role;
use serde_json::json;

use crate::support::{Credential, TestApp};

#[tokio::test]
async fn a_user_is_added_listed_and_removed() {
    let (app, .., admin) = TestApp::with().public_url("https://jobs.example.org").init().await;
    let reply = admin.post("/api/admin/users", json!({"name": "anna", "role": "operator"})).await;
    assert_eq!((reply.status().as_u16(), &reply.json()["name"]), (201, &json!("anna")));
    let link = reply.json()["signInLink"].as_str().unwrap().to_owned();
    assert!(link.starts_with("https://jobs.example.org/login?link="), "{link}");
    assert_eq!(
        admin.get("/api/admin/users").await.json(),
        json!([{"name": "anna", "role": "operator", "hasPassword": false, "createdAt": "2026-11-22T16:20:05.123Z"}])
    );
    let before = app.everything().await;
    admin.post("/api/admin/users", json!({"name": "anna"})).await.assert_refused(409, "conflict");
    for body in [
        json!({"name": ""}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "b", "role": "king"}),
        json!({"name": "ä".repeat(201)}),
    ] {
        admin.post("/api/admin/users", body).await.assert_refused(400, "invalid_value");
    }
    admin.post("/api/admin/users", json!({})).await.assert_refused(400, "wrong_shape");
    admin.delete("/api/admin/users/nobody").await.assert_refused(404, "not_found");
    assert_eq!(app.everything().await, before);
    assert_eq!(admin.delete("/api/admin/users/anna").await.status(), 204);
    assert_eq!(admin.get("/api/admin/users").await.json(), json!([]));
}

#[tokio::test]
async fn the_last_admin_cannot_be_removed() {
    let (app, .., admin) = TestApp::init().await;
    app.user("boss", Role::Admin, "correct horse").await;
    admin.delete("/api/admin/users/boss").await.assert_refused(409, "conflict");
    app.user("other", Role::Admin, "correct horse").await;
    assert_eq!(admin.delete("/api/admin/users/boss").await.status(), 204);
}

#[tokio::test]
async fn names_that_nobody_can_tell_apart_or_see_are_refused() {
    let (app, .., admin) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    for (name, status, code) in [
        ("аnna", 409, "conflict"),
        ("Anna", 409, "conflict"),
        ("an\u{200b}na", 400, "invalid_value"),
        ("an\u{202e}na", 400, "invalid_value"),
        ("anna💥", 400, "invalid_value"),
        ("-anna", 400, "invalid_value"),
    ] {
        admin.post("/api/admin/users", json!({"name": name})).await.assert_refused(status, code);
    }
    admin.post("/api/admin/tokens", json!({"name": "Reporter"})).await.assert_refused(409, "conflict");
    admin
        .post("/api/admin/tokens", json!({"name": "re\u{ad}porter"}))
        .await
        .assert_refused(400, "invalid_value");
    assert_eq!(admin.post("/api/admin/users", json!({"name": "Jörg Müller"})).await.status(), 201);
    admin.delete("/api/admin/users/%00").await.assert_refused(404, "not_found");
}

/// An admin that is demoted, or removed, on the server's machine is remembered for a moment. That moment must
/// not suffice to leave a token behind.
#[tokio::test]
async fn who_is_no_admin_any_more_makes_no_token_and_no_user() {
    use longhaul::service::accounts::{remove_user, set_role};
    let (app, ..) = TestApp::init().await;
    app.user("boss", Role::Admin, "correct horse").await;
    let browser = app.signed_in("anna", Role::Admin).await;
    assert_eq!(browser.get("/api/admin/users").await.status(), 200);
    set_role(&*app.accounts, "anna", Role::Operator, app.service.now()).await.unwrap();
    browser
        .post("/api/admin/tokens", json!({"name": "x", "role": "admin"}))
        .await
        .assert_refused(403, "forbidden");
    browser
        .post("/api/admin/users", json!({"name": "x", "role": "admin"}))
        .await
        .assert_refused(403, "forbidden");
    browser.delete("/api/admin/users/boss").await.assert_refused(403, "forbidden");
    remove_user(&*app.accounts, "anna", app.service.now()).await.unwrap();
    browser.post("/api/admin/tokens", json!({"name": "x"})).await.assert_refused(401, "not_signed_in");
    assert_eq!(app.accounts.users().await.unwrap().len(), 1);
    assert!(app.accounts.tokens().await.unwrap().iter().all(|token| token.name != "x"));
}

#[tokio::test]
async fn the_last_admin_cannot_be_demoted() {
    use longhaul::service::accounts::set_role;
    let (app, ..) = TestApp::init().await;
    app.user("boss", Role::Admin, "correct horse").await;
    let demote = async |name: &str| set_role(&*app.accounts, name, Role::Viewer, app.service.now()).await;
    assert!(demote("boss").await.is_err());
    assert_eq!(set_role(&*app.accounts, "boss", Role::Admin, app.service.now()).await, Ok(()));
    app.user("other", Role::Admin, "correct horse").await;
    assert_eq!(demote("boss").await, Ok(()));
    assert!(demote("other").await.is_err());
}

#[tokio::test]
async fn a_token_is_shown_once_works_and_is_revoked_at_once() {
    let (app, .., admin) = TestApp::init().await;
    let reply = admin
        .post("/api/admin/tokens", json!({"name": "importer", "role": "reporter", "expiresIn": 60}))
        .await;
    assert_eq!(reply.status(), 201);
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    let list = admin.get("/api/admin/tokens").await;
    assert!(!list.text().contains(&token), "its secret is not shown again");
    let tokens = list.json();
    let of = tokens.as_array().unwrap().iter().find(|token| token["name"] == "importer").unwrap();
    assert_eq!(
        of,
        &json!({
            "name": "importer", "role": "reporter", "actAs": false,
            "createdAt": "2026-11-22T16:20:05.123Z", "expiresAt": "2026-11-22T16:21:05.123Z",
        })
    );
    let importer = app.client(Some(Credential::Bearer(token)));
    importer.start("import").await;
    admin.post("/api/admin/tokens", json!({"name": "importer"})).await.assert_refused(409, "conflict");
    admin.post("/api/admin/tokens", json!({"name": " "})).await.assert_refused(400, "invalid_value");
    admin
        .post("/api/admin/tokens", json!({"name": "x", "role": "king"}))
        .await
        .assert_refused(400, "invalid_value");
    assert_eq!(admin.delete("/api/admin/tokens/importer").await.status(), 204);
    importer.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
    admin.delete("/api/admin/tokens/importer").await.assert_refused(404, "not_found");
}

#[tokio::test]
async fn a_token_ends_when_it_expires() {
    let (app, .., admin) = TestApp::init().await;
    let reply = admin.post("/api/admin/tokens", json!({"name": "short", "expiresIn": 60})).await;
    let short = app.client(Some(Credential::Bearer(reply.json()["token"].as_str().unwrap().to_owned())));
    assert_eq!(short.get("/api/admin/jobs").await.status(), 200);
    app.clock.advance(Duration::from_millis(59_999));
    assert_eq!(short.get("/api/admin/jobs").await.status(), 200);
    app.clock.advance(Duration::from_millis(1));
    short.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
}

#[tokio::test]
async fn a_removed_user_is_signed_out_at_once() {
    let (app, .., admin) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Operator).await;
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 200);
    assert_eq!(admin.delete("/api/admin/users/anna").await.status(), 204);
    browser.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
}
