//! Coming in, against somebody who guesses, floods, and sets cookies from next door.

use std::time::Duration;

use futures::future::join_all;
use longhaul::model::Role;
use longhaul::service::NewToken;
use longhaul::service::accounts::add_token;

use crate::support::{Client, Credential, Reply, TestApp};

const SIGN_IN: &str = "/rpc/session/sign-in";

async fn sign_in(client: &Client, name: &str, password: &str) -> Reply {
    client.call(SIGN_IN, &[("name", name), ("password", password)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_that_come_at_once_are_as_few_as_those_that_come_one_by_one() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    let guesses: Vec<String> = (0..80).map(|number| format!("wrong horse {number}")).collect();
    let replies = join_all(guesses.iter().map(|guess| sign_in(&anon, "anna", guess))).await;
    let compared = replies.iter().filter(|reply| reply.status() == 401).count();
    let refused = replies.iter().filter(|reply| reply.status() == 429).count();
    assert_eq!((compared, refused), (10, 70));
    sign_in(&anon, "anna", "correct horse").await.assert_refused(429, "too_many_attempts");
    app.minutes_pass(5);
    assert_eq!(sign_in(&anon, "anna", "correct horse").await.status(), 200);
}

#[tokio::test]
async fn who_knows_the_password_is_not_kept_out_by_having_come_often() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    for _ in 0..12 {
        assert_eq!(sign_in(&anon, "anna", "correct horse").await.status(), 200);
    }
}

#[tokio::test]
async fn what_cannot_be_a_name_or_a_password_is_wrong_and_not_counted() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    let long = "x".repeat(1_025);
    for (name, password) in [
        ("ä".repeat(201).as_str(), "correct horse"),
        ("x".repeat(500_000).as_str(), "correct horse"),
        ("an\u{0}na", "correct horse"),
        ("anna", long.as_str()),
    ] {
        for _ in 0..11 {
            sign_in(&anon, name, password).await.assert_refused(401, "wrong_password");
        }
    }
    assert_eq!(sign_in(&anon, "anna", "correct horse").await.status(), 200);
}

/// More than the queue for hashing holds: had one been hashed, others would have been turned away.
#[tokio::test]
async fn nothing_is_hashed_for_a_link_that_is_none() {
    let (_, anon, ..) = TestApp::init().await;
    let fields = [("link", "none"), ("password", "correct horse"), ("again", "correct horse")];
    let replies = join_all((0..200).map(|_| anon.call("/rpc/session/choose-password", &fields))).await;
    for reply in replies {
        reply.assert_refused(410, "link_expired");
    }
}

#[tokio::test]
async fn only_the_cookie_that_the_settings_call_for_signs_anybody_in() {
    for (url, own, other) in
        [("", "longhaul", "__Host-longhaul"), ("https://jobs.example.org", "__Host-longhaul", "longhaul")]
    {
        let (app, anon, ..) = TestApp::with().public_url(url).init().await;
        app.user("anna", Role::Viewer, "correct horse").await;
        let reply = sign_in(&anon, "anna", "correct horse").await;
        let secret = reply.cookie().split_once('=').unwrap().1.to_owned();
        let ask = async |cookies: String| {
            let browser = app.client(Some(Credential::Cookie(cookies)));
            browser.get("/api/admin/jobs").await.status().as_u16()
        };
        assert_eq!(ask(format!("{own}={secret}")).await, 200);
        assert_eq!(ask(format!("{other}={secret}")).await, 401, "{other} at {url:?}");
        assert_eq!(ask(format!("{own}x={secret}; x{own}={secret}")).await, 401);
        assert_eq!(ask(format!("{other}=stale; {own}={secret}")).await, 200, "a stale one is not in the way");
        assert_eq!(ask(format!("name=Zoë; {own}={secret}")).await, 200, "nor one that is not ASCII");
        assert_eq!(ask(format!(" a=b;{own}={secret};c")).await, 200);

        let browser = app.client(Some(Credential::Cookie(format!("name=Zoë; {own}={secret}"))));
        let out = browser.form("/rpc/session/sign-out", &[]).await;
        assert_eq!(ask(format!("{own}={secret}")).await, 401, "signing out finds it as well");
        // Over https a cookie from before there was TLS is taken away; over http a browser would not let us.
        for set in [&reply, &out] {
            let cookies = set.headers("set-cookie");
            assert!(cookies[0].starts_with(&format!("{own}=")), "{cookies:?}");
            let stale: Vec<&&str> =
                cookies.iter().filter(|cookie| cookie.starts_with("longhaul=;")).collect();
            assert!(url.is_empty() || stale.len() == 1, "{cookies:?}");
            assert!(stale.iter().all(|cookie| cookie.contains("Max-Age=0")), "{cookies:?}");
            assert_eq!(cookies.len(), if url.is_empty() { 1 } else { 2 }, "{cookies:?}");
        }
    }
}

#[tokio::test]
async fn another_scheme_than_bearer_is_a_proxys_and_leaves_the_cookie_alone() {
    let (app, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Viewer).await;
    for (authorization, status) in [
        ("Basic dXNlcjpwYXNz", 200),
        ("Digest username=\"anna\"", 200),
        ("Bearers abc", 200),
        ("Bearer wrong", 401),
        ("bearer", 401),
        ("Bearer é", 401),
        ("Bearer ", 401),
    ] {
        let request = browser.request("GET", "/api/admin/jobs").header("authorization", authorization);
        assert_eq!(request.send().await.status(), status, "{authorization}");
    }
}

#[tokio::test]
async fn a_bootstrap_token_is_worth_nothing_after_it_left_the_settings() {
    let (app, ..) = TestApp::init().await;
    let set = async |token: Option<&str>| {
        app.service.set_first_credentials(None, token.map(str::to_owned)).await.unwrap();
    };
    set(Some("0123456789abcdef")).await;
    let bootstrap = app.client(Some(Credential::Bearer("0123456789abcdef".to_owned())));
    assert_eq!(bootstrap.get("/api/admin/users").await.status(), 200);
    assert!(app.service.first_link().await.unwrap().is_none(), "nobody prints what somebody else could use");
    assert!(app.accounts.users().await.unwrap().is_empty());
    set(None).await;
    bootstrap.get("/api/admin/users").await.assert_refused(401, "not_signed_in");
    assert!(app.service.first_link().await.unwrap().is_some(), "or nobody could come in");
}

#[tokio::test]
async fn the_bootstrap_tokens_name_is_kept_for_it() {
    let (app, .., admin) = TestApp::init().await;
    let body = serde_json::json!({"name": " bootstrap ", "role": "viewer"});
    admin.post("/api/admin/tokens", body).await.assert_refused(400, "invalid_value");
    let new = NewToken { name: "bootstrap".to_owned(), role: Role::Viewer, act_as: false, lasts: None };
    assert!(add_token(&*app.accounts, new, app.service.now()).await.is_err());

    // One made by hand before the name was kept, for something else.
    app.accounts
        .add_token(longhaul::store::TokenRecord {
            name: "bootstrap".to_owned(),
            hash: [7; 32],
            role: Role::Viewer,
            act_as: false,
            created_at: app.service.now(),
            expires_at: None,
        })
        .await
        .unwrap();
    app.service.set_first_credentials(None, None).await.unwrap();
    assert!(app.accounts.token(&[7; 32]).await.unwrap().is_some());
    assert!(app.service.first_link().await.unwrap().is_some());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_the_senders_mistake() {
    let (_, anon, ..) = TestApp::init().await;
    let send = async |accept: &str, body: Vec<u8>| {
        let request = anon.request("POST", SIGN_IN).header("accept", accept);
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await
    };
    let large = || format!("name=anna&password={}", "x".repeat(1_200_000)).into_bytes();
    let garbled = || b"name=\xff&password=x".to_vec();
    send("application/json", large()).await.assert_refused(413, "body_too_large");
    send("application/json", garbled()).await.assert_refused(400, "body_unreadable");
    assert_eq!(send("text/html", large()).await.status(), 413);
    assert_eq!(send("text/html", garbled()).await.status(), 400);
}

#[tokio::test]
async fn a_token_lasts_a_second_to_ten_years_or_until_it_is_revoked() {
    let (app, .., admin) = TestApp::init().await;
    let make = async |name: &str, seconds: u64| {
        let body = serde_json::json!({"name": name, "expiresIn": seconds});
        admin.post("/api/admin/tokens", body).await
    };
    for seconds in [0, 3_653 * 86_400 + 1, u64::MAX] {
        let reply = make("x", seconds).await;
        reply.assert_refused(400, "invalid_value");
        assert_eq!(reply.json()["error"], "expiresIn must be between 1 second and 10 years.");
        assert_eq!(reply.json()["details"], serde_json::json!({"field": "expiresIn"}));
    }
    assert_eq!(make("short", 1).await.status(), 201);
    let long = make("long", 3_653 * 86_400).await;
    let long = app.client(Some(Credential::Bearer(long.json()["token"].as_str().unwrap().to_owned())));
    app.clock.advance(Duration::from_secs(365 * 86_400));
    assert_eq!(long.get("/api/admin/jobs").await.status(), 200);
}
