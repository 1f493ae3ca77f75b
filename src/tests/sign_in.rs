//! Coming in, against somebody who guesses, floods, and sets cookies from next door.

use std::time::Duration;

use futures::future::join_all;
use longhaul::model::Role;
use longhaul::service::NewToken;
use longhaul::service::accounts::add_token;
use longhaul::store::{AccountChange, By};

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
            let device =
                cookies.iter().filter(|cookie| cookie.starts_with(&format!("{own}-device="))).count();
            assert_eq!(cookies.len() - device, if url.is_empty() { 1 } else { 2 }, "{cookies:?}");
        }
    }
}

#[tokio::test]
async fn each_of_several_cookies_of_one_name_is_tried() {
    let (app, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Viewer).await;
    let (_, own) = browser.credential_header().unwrap();
    for cookies in
        [format!("longhaul=another; {own}"), format!("{own}; longhaul=another"), format!("longhaul=; {own}")]
    {
        let browser = app.client(Some(Credential::Cookie(cookies.clone())));
        assert_eq!(browser.get("/api/admin/jobs").await.status(), 200, "{cookies}");
        assert_eq!(
            browser.get("/api/admin/jobs").await.status(),
            200,
            "and when it is remembered: {cookies}"
        );
    }
    let both = app.client(Some(Credential::Cookie(format!("longhaul=another; {own}"))));
    both.form("/rpc/session/sign-out", &[]).await.assert_sent_to("/login?notice=signed-out");
    browser.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
}

#[tokio::test]
async fn a_cookie_is_called_by_the_port_that_the_browser_asked_for() {
    for (url, host, name) in [
        ("", "127.0.0.1:3001", "longhaul-3001"),
        ("", "box.lan", "longhaul"),
        ("http://box.lan:8080", "127.0.0.1:3000", "longhaul-8080"),
        ("https://box.lan", "127.0.0.1:3000", "__Host-longhaul"),
        ("https://box.lan:8443", "127.0.0.1:3000", "__Host-longhaul-8443"),
    ] {
        let (app, anon, ..) = TestApp::with().public_url(url).init().await;
        app.user("anna", Role::Viewer, "correct horse").await;
        let form = anon.request("POST", SIGN_IN).header("accept", "text/html").header("host", host);
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let reply = form.body("name=anna&password=correct+horse").send().await;
        assert!(reply.cookie().starts_with(&format!("{name}=")), "{}", reply.cookie());
        let device = format!("{}=", name.replacen("longhaul", "longhaul-device", 1));
        assert!(reply.headers("set-cookie").iter().any(|cookie| cookie.starts_with(&device)), "{device}");
        let ask = app.client(Some(Credential::Cookie(reply.cookie())));
        assert_eq!(ask.request("GET", "/api/admin/jobs").header("host", host).send().await.status(), 200);
    }
}

/// As many connections as the server has had at once, from one address, against people who come from others
/// or have been here before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_shuts_another_out() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    let first = anon.form(SIGN_IN, &[("name", "anna"), ("password", "correct horse")]).await;
    let device =
        first.headers("set-cookie").into_iter().find(|cookie| cookie.starts_with("longhaul-device="));
    let device = device.unwrap().split(';').next().unwrap().to_owned();
    let guess = async |name: &str, number: usize| {
        let reply = sign_in(&anon, name, &format!("wrong horse {number}")).await;
        reply.status().as_u16()
    };
    let honest = async |address: &str, cookie: Option<&str>| {
        let known = app.client(cookie.map(|cookie| Credential::Cookie(cookie.to_owned())));
        let form = known.request("POST", SIGN_IN).from(address).header("accept", "application/json");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        form.body("name=anna&password=correct+horse").send().await.status().as_u16()
    };
    // Seventy guess at once at names that are none, and the honest get through between them.
    let crowd = join_all((0..70).map(|number| async move { (number, format!("nobody{number}")) }));
    let crowd = crowd.await;
    let guesses = join_all(crowd.iter().map(|(number, name)| guess(name, *number)));
    let people = join_all((0..21).map(|number| {
        let address = format!("198.51.100.{number}");
        async move { address }
    }))
    .await;
    let (guesses, people) =
        tokio::join!(guesses, join_all(people.iter().map(|address| honest(address, None))));
    assert!(people.iter().all(|status| *status == 200), "{people:?}");
    assert!(guesses.iter().all(|status| *status == 401), "{guesses:?}");
    // Ten wrong ones shut the door to whoever comes from there, and to nobody else.
    for number in 0..10 {
        assert_eq!(guess("anna", number).await, 401);
    }
    let refused = sign_in(&anon, "anna", "correct horse").await;
    refused.assert_refused(429, "too_many_attempts");
    let said = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(said.contains("5 minutes") && said.contains("longhaul user link"), "{said}");
    assert_eq!(honest("198.51.100.1", None).await, 200);
    let again = app.client(Some(Credential::Cookie(device.clone())));
    assert_eq!(sign_in(&again, "anna", "correct horse").await.status(), 200, "a device that was here before");
    // Which is no way to guess without end, nor known for another's.
    for number in 0..10 {
        assert_eq!(sign_in(&again, "anna", &format!("wrong {number}")).await.status(), 401);
    }
    assert_eq!(sign_in(&again, "anna", "correct horse").await.status(), 429);
    assert_eq!(honest("198.51.100.2", None).await, 200);
}

#[tokio::test]
async fn who_is_locked_out_is_told_the_minutes_that_are_left_and_what_helps() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    for number in 0..10 {
        assert_eq!(sign_in(&anon, "anna", &format!("wrong horse {number}")).await.status(), 401);
        app.clock.advance(Duration::from_secs(1));
    }
    let form = async || anon.form(SIGN_IN, &[("name", "anna"), ("password", "correct horse")]).await;
    let said = async |page: &str| {
        let text = anon.page(page).await.text().to_owned();
        assert!(!text.contains("five minutes"), "{text}");
        let minutes =
            text.split_once("Try again in ").map(|(_, rest)| rest.split_once('.').unwrap().0.to_owned());
        assert_eq!(minutes.is_some(), text.contains("make a one-time link on the server"), "{text}");
        minutes
    };
    for (passed, expected) in [(0, "5 minutes"), (60, "4 minutes"), (130, "2 minutes"), (60, "a minute")] {
        app.clock.advance(Duration::from_secs(passed));
        let reply = form().await;
        assert_eq!(said(reply.location()).await.as_deref(), Some(expected));
    }
    // The page tells the time that is left when it is loaded anew, and nothing once there is none.
    let page = form().await.location().to_owned();
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(said(&page).await, None);
    form().await.assert_sent_to("/admin/jobs");
    // A forged address says no more than there is.
    for forged in ["&until=99999999999", "&until=9223372036854775807", "", "&until=x"] {
        let page = format!("/login?notice=too_many_attempts{forged}");
        assert_eq!(said(&page).await.as_deref(), Some("5 minutes"), "{forged}");
    }
    assert_eq!(said("/login?notice=too_many_attempts&until=-9223372036854775808").await, None);
}

#[tokio::test]
async fn a_clock_that_is_set_back_locks_nobody_out_for_as_long_and_remembers_nothing_longer() {
    let (app, anon, ..) = TestApp::init().await;
    let user = app.signed_in("anna", Role::Admin).await;
    let real = app.service.now();
    app.clock.set(real.plus(Duration::from_secs(700 * 86_400)));
    for number in 0..10 {
        assert_eq!(sign_in(&anon, "anna", &format!("wrong horse {number}")).await.status(), 401);
    }
    let token = NewToken { name: "ci".to_owned(), role: Role::Viewer, act_as: false, lasts: None };
    let token = add_token(&*app.accounts, token, app.service.now()).await.unwrap();
    let program = app.client(Some(Credential::Bearer(token.0)));
    assert_eq!(program.get("/api/admin/jobs").await.status(), 200);
    app.clock.set(real);
    // Revoked beside the server, which is to know within five seconds.
    longhaul::service::accounts::remove_token(&*app.accounts, "ci", real).await.unwrap();
    app.clock.advance(Duration::from_secs(6));
    program.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
    assert_eq!(sign_in(&anon, "anna", "correct horse").await.status(), 429);
    app.minutes_pass(5);
    assert_eq!(sign_in(&anon, "anna", "correct horse").await.status(), 200);
    assert_eq!(user.get("/api/admin/jobs").await.status(), 200);
}

#[tokio::test]
async fn signing_in_again_ends_the_session_before() {
    let (app, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Viewer).await;
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 200);
    let again = browser.form(SIGN_IN, &[("name", "anna"), ("password", "correct horse")]).await;
    browser.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
    let now = app.client(Some(Credential::Cookie(again.cookie())));
    assert_eq!(now.get("/api/admin/jobs").await.status(), 200);
    // A wrong password ends nothing.
    now.form(SIGN_IN, &[("name", "anna"), ("password", "wrong horse")]).await;
    assert_eq!(now.get("/api/admin/jobs").await.status(), 200);
}

#[tokio::test]
async fn a_link_works_with_what_a_chat_program_added_and_its_page_names_one_command() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    for added in [")", ".", "%3E", "%29.", ",%20and"] {
        let link =
            longhaul::service::accounts::make_link(&*app.accounts, "anna", app.service.now()).await.unwrap();
        let page = anon.page(&format!("/login?link={link}{added}")).await;
        assert!(page.text().contains("Welcome, "), "{added}");
        let link = format!("{link}{}", added.replace("%29", ")").replace("%20", " ").replace("%3E", ">"));
        let fields = [("link", link.as_str()), ("password", "another horse"), ("again", "another horse")];
        anon.form("/rpc/session/choose-password", &fields).await.assert_sent_to("/admin/jobs");
        let used =
            anon.page(&format!("/login?link={}&notice=link_expired", crate::support::encode(&link))).await;
        assert_eq!(used.text().matches("longhaul user link").count(), 1, "{}", used.text());
    }
}

#[tokio::test]
async fn secrets_of_the_settings_are_read_without_what_stands_around_them() {
    let (app, anon, ..) = TestApp::init().await;
    let set = async |password: &str, token: &str| {
        app.service.set_first_credentials(Some(password.to_owned()), Some(token.to_owned())).await
    };
    for around in ["\n", "\r\n", " ", "\t", "\u{feff}"] {
        set(&format!("{around}a long password{around}"), &format!("{around}0123456789abcdef{around}"))
            .await
            .unwrap();
        assert_eq!(sign_in(&anon, "admin", "a long password").await.status(), 200, "{around:?}");
        let bootstrap = app.client(Some(Credential::Bearer("0123456789abcdef".to_owned())));
        assert_eq!(bootstrap.get("/api/admin/users").await.status(), 200, "{around:?}");
    }
    for (password, token) in [
        ("a long\npassword", "0123456789abcdef"),
        ("a long password", "0123456789\nabcdef"),
        ("a long password", "0123456789 abcdef"),
        ("a long password", "0123456789äbcdef"),
        ("a long password", "\n"),
    ] {
        assert!(set(password, token).await.is_err(), "{password:?} {token:?}");
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
    admin.post("/api/admin/tokens", body).await.assert_refused(409, "conflict");
    let new = NewToken { name: "bootstrap".to_owned(), role: Role::Viewer, act_as: false, lasts: None };
    assert!(add_token(&*app.accounts, new, app.service.now()).await.is_err());

    // One made by hand before the name was kept, for something else.
    app.accounts
        .change(
            AccountChange::AddToken(longhaul::store::TokenRecord {
                name: "bootstrap".to_owned(),
                hash: [7; 32],
                role: Role::Viewer,
                act_as: false,
                created_at: app.service.now(),
                expires_at: None,
            }),
            By::Owner,
        )
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
