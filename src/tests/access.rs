//! Who may do what: every route for everybody, and every way of showing who one is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longhaul::model::Role;
use longhaul::server::routes;
use longhaul::service::NewToken;
use serde_json::json;

use crate::support::{Client, Credential, Reply, TestApp, encode};

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Nothing.
    Nobody,
    /// To be signed in: everybody who is may read.
    Read,
    Start,
    /// To have started the job, or to be an admin.
    Report,
    Recover,
    ManageAccounts,
}

/// What each route takes. A route that is not here fails the test: whoever adds one says whom it is for.
fn takes(method: &str, path: &str) -> Option<Takes> {
    Some(match (method, path) {
        ("GET", "/healthz" | "/favicon.svg" | "/robots.txt" | "/pkg/{build}/{name}" | "/login")
        | ("POST", "/rpc/session/sign-in" | "/rpc/session/choose-password") => Takes::Nobody,

        ("GET", "/" | "/admin" | "/readyz" | "/api/openapi.json" | "/api/docs" | "/api/docs/")
        | ("GET", "/admin/jobs" | "/admin/jobs/{id}" | "/admin/account" | "/admin/{*any}")
        | (
            "GET",
            "/api/admin/jobs"
            | "/api/admin/jobs/health"
            | "/api/admin/jobs/events"
            | "/api/admin/jobs/{id}/progress"
            | "/api/admin/jobs/{id}/messages"
            | "/api/admin/jobs/{id}/log.txt",
        )
        | ("GET", "/rpc/board/poll" | "/rpc/jobs/past" | "/rpc/jobs/poll" | "/rpc/jobs/log")
        | ("POST", "/rpc/session/sign-out" | "/rpc/session/change-password" | "/rpc/session/end") => {
            Takes::Read
        }

        ("POST", "/api/admin/jobs/start") => Takes::Start,

        (
            "POST",
            "/api/admin/jobs/{id}/progress"
            | "/api/admin/jobs/{id}/message"
            | "/api/admin/jobs/{id}/heartbeat"
            | "/api/admin/jobs/{id}/complete"
            | "/api/admin/jobs/{id}/fail"
            | "/api/admin/jobs/{id}/aborted",
        ) => Takes::Report,

        ("GET", "/admin/jobs/emergency-cleanup")
        | (
            "POST",
            "/api/admin/jobs/run"
            | "/api/admin/jobs/cleanup"
            | "/api/admin/clock/accept"
            | "/api/admin/jobs/emergency-cleanup"
            | "/api/admin/jobs/{id}/abort"
            | "/api/admin/jobs/{id}/more-time"
            | "/api/admin/jobs/{id}/force-fail"
            | "/api/admin/jobs/{id}/pin"
            | "/api/admin/jobs/{id}/unpin",
        )
        | (
            "POST",
            "/rpc/jobs/start"
            | "/rpc/jobs/abort"
            | "/rpc/jobs/more-time"
            | "/rpc/jobs/force-fail"
            | "/rpc/jobs/pin"
            | "/rpc/jobs/unpin"
            | "/rpc/system/sweep"
            | "/rpc/system/emergency-cleanup",
        ) => Takes::Recover,

        ("GET" | "POST", "/api/admin/users" | "/api/admin/tokens")
        | ("DELETE", "/api/admin/users/{name}" | "/api/admin/tokens/{name}") => Takes::ManageAccounts,

        _ => return None,
    })
}

fn may(role: Role, owns_the_job: bool, takes: Takes) -> bool {
    match takes {
        Takes::Nobody | Takes::Read => true,
        Takes::Start => role >= Role::Reporter,
        Takes::Report => (role >= Role::Reporter && owns_the_job) || role == Role::Admin,
        Takes::Recover => role >= Role::Operator,
        Takes::ManageAccounts => role >= Role::Admin,
    }
}

/// Sends what the route would take, about this job. Answers the head alone: a stream has no end.
async fn ask(client: &Client, method: &str, path: &str, job: &str, html: bool) -> Reply {
    let about = path.replace("{id}", job).replace("{*any}", "nothing").replace("{name}", "nobody");
    let about = about.replace("{build}", "any");
    let rpc = path.starts_with("/rpc/");
    let fields = format!(
        "id={job}&reason=r&feature=retention&boot=b&build=b&since=0&after=0&unfolded=false&confirm=1&shown=1\
         &name=nobody&password=nothing-of-note&link=none&again=nothing-of-note&current=nothing"
    );
    let address = if rpc && method == "GET" { format!("{about}?{fields}") } else { about };
    let request = client
        .request(method, &address)
        .header("accept", if html { "text/html" } else { "application/json" });
    match (method, rpc) {
        ("POST", true) => {
            request.header("content-type", "application/x-www-form-urlencoded").body(fields).head().await
        }
        ("POST", false) => {
            let body = json!({
                "feature": "retention", "reason": "r", "progress": 0.5, "type": "info", "message": "m",
                "name": job, "role": "viewer",
            });
            request.json(&body).head().await
        }
        _ => request.head().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_open_to_whom_it_is_for_and_to_nobody_else() {
    let (app, anon, viewer, reporter, operator, admin) = TestApp::with().max_active(100_000).init().await;
    let other = app.token("another-reporter", Role::Reporter).await;
    let people = [
        ("viewer", Role::Viewer, &viewer),
        ("reporter", Role::Reporter, &reporter),
        ("another reporter", Role::Reporter, &other),
        ("operator", Role::Operator, &operator),
        ("admin", Role::Admin, &admin),
    ];
    let routes = routes().0;
    assert!(routes.len() > 40, "{routes:?}");
    for (method, path) in &routes {
        let takes = takes(method, path)
            .unwrap_or_else(|| panic!("{method} {path} is new: say in `takes` whom it is for"));
        let job = reporter.start("import").await.id;
        let before = app.jobs.get(job.parse().unwrap()).await.unwrap();

        for html in [false, true] {
            let reply = ask(&anon, method, path, &job, html).await;
            let (status, to) = (reply.status().as_u16(), reply.location());
            // Whatever a browser sends, it is shown the way in.
            let page = !path.starts_with("/api/admin");
            match takes {
                Takes::Nobody => {
                    assert!(status != 403 && !to.starts_with("/login?next="), "{method} {path}: {status}");
                }
                _ if html && page => {
                    assert!(
                        status == 303 && to.starts_with("/login?next="),
                        "{method} {path}: {status} {to}"
                    );
                }
                _ => assert_eq!(status, 401, "{method} {path} for nobody in particular"),
            }
        }
        assert_eq!(
            app.jobs.get(job.parse().unwrap()).await.unwrap(),
            before,
            "{method} {path} changed something"
        );

        for (name, role, client) in people {
            let job = reporter.start("import").await.id;
            let before = app.jobs.get(job.parse().unwrap()).await.unwrap();
            let reply = ask(client, method, path, &job, false).await;
            let status = reply.status().as_u16();
            if may(role, name == "reporter", takes) {
                assert!(
                    status < 500 && (![401, 403].contains(&status) || takes == Takes::Nobody),
                    "{method} {path} for {name}: {status}"
                );
            } else {
                assert_eq!(status, 403, "{method} {path} for {name}");
                let after = app.jobs.get(job.parse().unwrap()).await.unwrap();
                assert_eq!(after, before, "{method} {path} for {name} changed something");
            }
        }
        // A route answers to its methods alone; to others not even that it is there.
        if takes != Takes::Nobody {
            let reply = ask(&anon, "PATCH", path, &job, false).await;
            assert_eq!(reply.status(), 401, "PATCH {path} for nobody in particular");
        }
    }
}

#[tokio::test]
async fn every_listed_route_is_really_there() {
    let (.., reporter, _, admin) = TestApp::init().await;
    for (method, path) in routes().0 {
        let job = reporter.start("import").await;
        let reply = ask(&admin, &method, &path, &job.id, false).await;
        let status = reply.status().as_u16();
        assert_ne!(status, 405, "{method} {path}");
        let may_be_absent = path.contains("{name}") || path == "/admin/{*any}";
        assert!(status != 404 || may_be_absent, "{method} {path}: {status}");
        reporter.post_nothing(&job.at("complete")).await;
    }
}

#[tokio::test]
async fn a_browser_is_never_answered_with_json() {
    let (app, anon, viewer, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Viewer).await;
    let form = |client: &Client, path: &str, referer: &str| {
        let request =
            client.request("POST", path).header("accept", "text/html,*/*").header("referer", referer);
        request.header("content-type", "application/x-www-form-urlencoded").body("id=x&reason=r")
    };
    // Signed out while typing.
    for (referer, next) in [
        ("http://longhaul.test/admin/jobs/x?level=error", "/admin/jobs/x%3Flevel%3Derror"),
        ("https://evil.example/phish", "/admin/jobs"),
        ("nonsense", "/admin/jobs"),
    ] {
        let reply = form(&anon, "/rpc/jobs/abort", referer).send().await;
        assert_eq!(
            (reply.status().as_u16(), reply.location()),
            (303, format!("/login?next={next}").as_str())
        );
    }
    let page = |reply: &Reply, status: u16, part: &str| {
        assert_eq!(reply.status(), status, "{}", reply.text());
        assert!(reply.header("content-type").starts_with("text/html"), "{status}: {}", reply.text());
        assert!(reply.text().contains(part) && !reply.text().contains("\"code\""), "{}", reply.text());
        assert_eq!(reply.header("cache-control"), "no-store");
    };
    page(&browser.page("/no/such/page").await, 404, "There is no such page");
    page(&form(&browser, "/healthz", "").send().await, 405, "does not answer");
    page(&form(&browser, "/rpc/jobs/abort", "").header("origin", "http://x").send().await, 403, "http://x");
    let garbled = form(&browser, "/rpc/session/sign-in", "").body(vec![b'=', 0xff, b'%']).send().await;
    assert!(garbled.status().is_client_error() || garbled.status() == 302 || garbled.status() == 303);
    assert!(!garbled.header("content-type").starts_with("application/json"), "{}", garbled.text());
    // Where no page is asked for, none comes.
    assert_eq!(viewer.get("/no/such/page").await.json()["code"], "no_such_path");
    assert_eq!(browser.page("/api/admin/nothing").await.json()["code"], "no_such_path");
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let (app, anon, viewer, ..) = TestApp::init().await;
    let job = app.token("r", Role::Reporter).await.start("import").await;
    for path in
        ["/", "/admin", "/admin/jobs", "/login", "/healthz", "/favicon.svg", "/api/admin/jobs", &job.page()]
    {
        for client in [&anon, &viewer] {
            for accept in ["text/html", "application/json"] {
                let ask =
                    async |method: &str| client.request(method, path).header("accept", accept).send().await;
                let (get, head) = (ask("GET").await, ask("HEAD").await);
                assert_eq!(
                    (get.status(), get.location()),
                    (head.status(), head.location()),
                    "{path} {accept}"
                );
                assert!(head.text().is_empty() || head.status() != 200, "{path}");
            }
        }
    }
    assert_eq!(viewer.page("/admin").await.location(), "/admin/jobs");
}

#[tokio::test]
async fn a_form_through_a_proxy_signs_in_and_a_token_is_good_from_anywhere() {
    let (app, anon, _, reporter, ..) = TestApp::with().public_url("http://box.lan:5348").init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    let sign_in = |origin: &str| {
        let form = anon
            .request("POST", "/rpc/session/sign-in")
            .header("accept", "text/html")
            .header("origin", origin);
        let form = form.header("host", "127.0.0.1:3000");
        form.header("content-type", "application/x-www-form-urlencoded")
            .body("name=anna&password=correct+horse")
    };
    sign_in("http://box.lan:5348").send().await.assert_sent_to("/admin/jobs");
    let refused = sign_in("http://elsewhere.lan").send().await;
    assert_eq!(refused.status(), 403);
    for part in ["http://elsewhere.lan", "127.0.0.1:3000", "http://box.lan:5348", "--public-url"] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    let job = reporter.start("import").await;
    let complete =
        reporter.request("POST", &job.at("complete")).header("origin", "https://elsewhere.example");
    assert_eq!(complete.header("sec-fetch-site", "cross-site").send().await.status(), 200);
}

#[tokio::test]
async fn browsers_are_told_to_come_by_https_alone_where_that_is_the_address() {
    for (url, told) in
        [("https://jobs.example.org", "max-age=31536000"), ("http://jobs.example.org", ""), ("", "")]
    {
        let (_, anon, ..) = TestApp::with().public_url(url).init().await;
        for path in ["/login", "/healthz", "/api/admin/jobs"] {
            assert_eq!(anon.get(path).await.header("strict-transport-security"), told, "{url} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_no_credential_is_refused_in_words() {
    let (app, anon, _, _, _, admin) = TestApp::init().await;
    let reply = anon.get("/api/admin/jobs").await;
    reply.assert_refused(401, "not_signed_in");
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    let (_, bearer) = admin.credential_header().unwrap();
    let token = bearer.strip_prefix("Bearer ").unwrap();
    for value in [
        token.to_owned(),
        format!("Basic {token}"),
        format!("Bearer{token}"),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[..token.len() - 1]),
        "Bearer lh_".to_owned(),
        "Bé".to_owned(),
    ] {
        let reply = anon.request("GET", "/api/admin/jobs").header("authorization", &value).send().await;
        reply.assert_refused(401, "not_signed_in");
    }
    for value in [format!("bearer {token}"), format!("BEARER   {token}  ")] {
        let reply = anon.request("GET", "/api/admin/jobs").header("authorization", &value).send().await;
        assert_eq!(reply.status(), 200, "{value}");
    }
    for cookie in
        [format!("longhaul={token}"), "longhaul=".to_owned(), "longhaul".to_owned(), ";;=;".to_owned()]
    {
        let reply = app.client(Some(Credential::Cookie(cookie))).get("/api/admin/jobs").await;
        reply.assert_refused(401, "not_signed_in");
    }
    // A wrong token is not made good by a cookie beside it: whoever sends one means it.
    let browser = app.signed_in("anna", Role::Admin).await;
    let reply =
        browser.request("GET", "/api/admin/jobs").header("authorization", "Bearer wrong").send().await;
    reply.assert_refused(401, "not_signed_in");
}

#[tokio::test]
async fn a_revoked_token_and_an_expired_one_are_worth_nothing() {
    let (app, .., admin) = TestApp::init().await;
    let reporter = app.token("importer", Role::Reporter).await;
    let job = reporter.start("import").await;
    assert_eq!(admin.delete("/api/admin/tokens/importer").await.status(), 204);
    reporter.post_nothing(&job.at("complete")).await.assert_refused(401, "not_signed_in");

    let lasts = Some(Duration::from_secs(600));
    let short = NewToken { name: "short".to_owned(), role: Role::Reporter, act_as: false, lasts };
    let short = app.token_that(short).await;
    let job = short.start("import").await;
    app.minutes_pass(10);
    short.post_nothing(&job.at("complete")).await.assert_refused(401, "not_signed_in");
    assert_eq!(admin.job(&job).await["status"], "running");
}

#[tokio::test]
async fn a_session_works_everywhere_until_it_expires_or_is_ended() {
    let (app, anon, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Operator).await;
    let job = browser.start("import").await;
    assert_eq!(browser.job(&job).await["author"], "anna");
    assert_eq!(browser.post(&job.at("abort"), json!({"reason": "r"})).await.status(), 202);
    assert_eq!(browser.log(&job, "operator").await, ["anna asked it to stop: r"]);

    app.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 200);
    app.clock.advance(Duration::from_secs(1));
    browser.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
    assert_eq!(browser.page("/admin/jobs").await.location(), "/login?next=/admin/jobs");

    let fields = [("name", "anna"), ("password", "correct horse")];
    let again = anon.form("/rpc/session/sign-in", &fields).await;
    let browser = app.client(Some(Credential::Cookie(again.cookie())));
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 200);
    browser.form("/rpc/session/sign-out", &[]).await.assert_sent_to("/login?notice=signed-out");
    browser.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
}

#[tokio::test]
async fn a_request_from_another_site_is_refused_though_the_cookie_comes_with_it() {
    let (app, _, _, reporter, ..) = TestApp::init().await;
    let browser = app.signed_in("anna", Role::Admin).await;
    let job = reporter.start("import").await;
    let send = async |client: &Client, name: &str, value: &str| {
        let request = client.request("POST", &job.at("force-fail")).header(name, value);
        request.json(&json!({"reason": "r"})).send().await
    };
    let before = app.everything().await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        send(&browser, name, value).await.assert_refused(403, "cross_site");
    }
    let form = browser
        .request("POST", "/rpc/jobs/force-fail")
        .header("sec-fetch-site", "cross-site")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("id={}&reason=r", job.id));
    assert_eq!(form.send().await.status(), 403);
    assert_eq!(app.everything().await, before);

    for (name, value) in
        [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none"), ("origin", "https://longhaul.test")]
    {
        let status = send(&browser, name, value).await.status().as_u16();
        assert!([200, 409].contains(&status), "{name}: {value}: {status}");
    }
    let other = reporter.start("import").await;
    assert_eq!(reporter.post_nothing(&other.at("complete")).await.status(), 200, "a program sends neither");
    let page = browser.request("GET", "/admin/jobs").header("sec-fetch-site", "cross-site");
    assert_eq!(page.header("accept", "text/html").send().await.status(), 200, "a link from elsewhere opens");
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
    for (url, name, secure) in [
        ("", "longhaul", false),
        ("http://jobs.example.org", "longhaul", false),
        ("https://jobs.example.org", "__Host-longhaul", true),
    ] {
        let (app, anon, ..) = TestApp::with().public_url(url).init().await;
        app.user("anna", Role::Viewer, "correct horse").await;
        let fields = [("name", "anna"), ("password", "correct horse")];
        let reply = anon.form("/rpc/session/sign-in", &fields).await;
        reply.assert_sent_to("/admin/jobs");
        let cookie = reply.header("set-cookie").to_owned();
        let parts: Vec<&str> = cookie.split("; ").collect();
        assert!(parts[0].starts_with(&format!("{name}=")), "{cookie}");
        for flag in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"] {
            assert!(parts.contains(&flag), "{flag}: {cookie}");
        }
        assert_eq!(parts.contains(&"Secure"), secure, "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
        let browser = app.client(Some(Credential::Cookie(reply.cookie())));
        assert_eq!(browser.page("/admin/jobs").await.status(), 200);
        let out = browser.form("/rpc/session/sign-out", &[]).await;
        assert!(out.header("set-cookie").starts_with(&format!("{name}=;")), "{}", out.header("set-cookie"));
        assert!(out.header("set-cookie").contains("Max-Age=0"));
    }
}

#[tokio::test]
async fn who_guesses_passwords_waits() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    app.user("otto", Role::Viewer, "correct horse").await;
    let sign_in = async |name: &str, password: &str| {
        anon.call("/rpc/session/sign-in", &[("name", name), ("password", password)]).await
    };
    for name in ["anna", "nobody"] {
        for _ in 0..10 {
            sign_in(name, "wrong").await.assert_refused(401, "wrong_password");
        }
        let reply = sign_in(name, "correct horse").await;
        assert_eq!((reply.status().as_u16(), &reply.json()["code"]), (429, &json!("too_many_attempts")));
        assert!(reply.header("set-cookie").is_empty());
    }
    assert_eq!(sign_in("otto", "correct horse").await.status(), 200, "others are not kept out");
    app.minutes_pass(5);
    assert_eq!(sign_in("anna", "correct horse").await.status(), 200);
}

#[tokio::test]
async fn a_one_time_link_works_once_and_for_a_day() {
    let (app, anon, .., admin) = TestApp::init().await;
    let link = async |name: &str| {
        let reply = admin.post("/api/admin/users", json!({"name": name, "role": "operator"})).await.json();
        let link = reply["signInLink"].as_str().unwrap();
        link.split_once("/login?link=").unwrap().1.to_owned()
    };
    let choose = async |link: &str, password: &str, again: &str| {
        let fields = [("link", link), ("password", password), ("again", again)];
        anon.form("/rpc/session/choose-password", &fields).await
    };
    let anna = link("anna").await;
    let page = anon.page(&format!("/login?link={anna}")).await;
    assert!(page.assert_page(200).contains("Welcome, "), "looking at it does not use it up");
    let back = format!("/login?link={}&notice=", encode(&anna));
    choose(&anna, "correct horse", "another horse").await.assert_sent_to(&format!("{back}password_differs"));
    choose(&anna, "short", "short").await.assert_sent_to(&format!("{back}password_short"));
    let reply = choose(&anna, "correct horse", "correct horse").await;
    reply.assert_sent_to("/admin/jobs");
    let browser = app.client(Some(Credential::Cookie(reply.cookie())));
    assert_eq!(browser.page("/admin/jobs").await.status(), 200);

    choose(&anna, "stolen horse", "stolen horse").await.assert_sent_to(&format!("{back}link_expired"));
    let page = anon.page(&format!("/login?link={anna}")).await;
    assert!(page.assert_page(200).contains("This link does not work any more"));
    let fields = [("name", "anna"), ("password", "correct horse")];
    anon.form("/rpc/session/sign-in", &fields).await.assert_sent_to("/admin/jobs");

    let otto = link("otto").await;
    app.minutes_pass(24 * 60);
    let late = choose(&otto, "correct horse", "correct horse").await;
    assert!(late.location().ends_with("notice=link_expired") && late.header("set-cookie").is_empty());
}

#[tokio::test]
async fn signing_in_leads_back_here_and_nowhere_else() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    let lost = anon.page("/admin/jobs?status=failed&q=a%26b").await;
    assert_eq!(
        (lost.status().as_u16(), lost.location()),
        (303, "/login?next=/admin/jobs%3Fstatus%3Dfailed%26q%3Da%2526b")
    );
    let form = anon.page(lost.location()).await;
    assert!(
        form.assert_page(200).contains("value=\"/admin/jobs?status=failed&amp;q=a%26b\""),
        "{}",
        form.text()
    );
    for (next, to) in [
        ("/admin/jobs?status=failed&q=a%26b", "/admin/jobs?status=failed&q=a%26b"),
        ("", "/admin/jobs"),
        ("https://evil.example/", "/admin/jobs"),
        ("//evil.example", "/admin/jobs"),
        ("/\\evil.example", "/admin/jobs"),
        ("/\t/evil.example", "/admin/jobs"),
        ("/a\r\nSet-Cookie: x=y", "/admin/jobs"),
        ("/\u{0}", "/admin/jobs"),
        ("javascript:alert(1)", "/admin/jobs"),
        ("admin/jobs", "/admin/jobs"),
        ("/ä", "/admin/jobs"),
    ] {
        let fields = [("name", "anna"), ("password", "correct horse"), ("next", next)];
        let reply = anon.form("/rpc/session/sign-in", &fields).await;
        assert_eq!((reply.status().as_u16(), reply.location()), (302, to), "{next:?}");
    }
    let wrong = [("name", "anna"), ("password", "wrong"), ("next", "/admin/jobs?status=failed")];
    let reply = anon.form("/rpc/session/sign-in", &wrong).await;
    reply.assert_sent_to("/login?next=/admin/jobs%3Fstatus%3Dfailed&notice=wrong_password");
    let page = anon.page(reply.location()).await;
    assert!(page.assert_page(200).contains("That name and password do not go together."));
}

#[tokio::test]
async fn a_browser_is_told_to_keep_out_what_does_not_belong() {
    let (_, anon, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let mut nonces = std::collections::HashSet::new();
    for path in ["/login", "/admin/jobs", &job.page(), "/admin/jobs/nothing", "/admin/nothing/at/all"] {
        let page = viewer.page(path).await;
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "style-src 'self';",
        ] {
            assert!(policy.contains(part), "{path}: {part}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{path}: {policy}");
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(nonce.len() >= 20 && nonces.insert(nonce.to_owned()), "each page has its own: {policy}");
        let mut scripts = page.text().split("<script").skip(1).map(|tag| tag.split('>').next().unwrap());
        let carries = format!("nonce=\"{nonce}\"");
        assert!(scripts.all(|tag| tag.contains(&carries)), "{path}: a script without this page's nonce");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        common(&page, path);
    }
    for path in ["/api/admin/jobs", "/api/admin/nothing", "/healthz"] {
        let reply = viewer.get(path).await;
        assert_eq!(
            reply.header("content-security-policy"),
            "default-src 'none'; frame-ancestors 'none'",
            "{path}"
        );
        common(&reply, path);
    }
    assert_eq!(viewer.get("/api/admin/jobs").await.header("cache-control"), "no-store");
    let refused = anon.get("/api/admin/jobs").await;
    common(&refused, "a refusal");
    assert_eq!(refused.header("cache-control"), "no-store");
}

#[track_caller]
fn common(reply: &Reply, path: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(name), value, "{path}: {name}");
    }
}

#[tokio::test]
async fn an_unattended_installation_gets_the_credentials_it_was_given() {
    let (app, anon, ..) = TestApp::init().await;
    let given = || (Some("a long password".to_owned()), Some("0123456789abcdef".to_owned()));
    let set = async |(password, token)| app.service.set_first_credentials(password, token).await;
    set(given()).await.unwrap();
    let bootstrap = app.client(Some(Credential::Bearer("0123456789abcdef".to_owned())));
    assert_eq!(bootstrap.get("/api/admin/users").await.json()[0]["name"], "admin");
    let job = bootstrap.start_with(json!({"feature": "import", "author": "anna"})).await;
    assert_eq!(bootstrap.job(&job).await["author"], "anna");
    let fields = [("name", "admin"), ("password", "a long password")];
    let reply = anon.form("/rpc/session/sign-in", &fields).await;
    reply.assert_sent_to("/admin/jobs");
    let browser = app.client(Some(Credential::Cookie(reply.cookie())));

    set(given()).await.unwrap();
    assert_eq!(browser.get("/api/admin/users").await.status(), 200, "the same again ends nobody's session");
    assert!(app.service.first_link().await.unwrap().is_none(), "somebody can sign in already");
    set((None, Some("another-token-of-16".to_owned()))).await.unwrap();
    let another = app.client(Some(Credential::Bearer("another-token-of-16".to_owned())));
    assert_eq!(another.get("/api/admin/users").await.status(), 200);
    app.clock.advance(Duration::from_secs(5));
    bootstrap.get("/api/admin/users").await.assert_refused(401, "not_signed_in");
    assert!(set((None, Some("short".to_owned()))).await.is_err());
}

#[tokio::test]
async fn the_first_start_makes_one_link_for_an_admin() {
    let (app, anon, ..) = TestApp::init().await;
    let link = app.service.first_link().await.unwrap().unwrap();
    let fields = [("link", link.as_str()), ("password", "correct horse"), ("again", "correct horse")];
    let reply = anon.form("/rpc/session/choose-password", &fields).await;
    reply.assert_sent_to("/admin/jobs");
    let browser = app.client(Some(Credential::Cookie(reply.cookie())));
    assert_eq!(browser.get("/api/admin/users").await.json()[0]["role"], "admin");
    assert!(app.service.first_link().await.unwrap().is_none());
}

/// A job that somebody else runs under a built-in one's name does not keep that from being started, nor the
/// other way round.
#[tokio::test]
async fn nobody_blocks_a_built_in_job() {
    let (_app, _, _, reporter, operator, _) = TestApp::with().init_sqlite().await;
    let alone = json!({"feature": "backup", "timeout": 0, "onePerFeature": true});
    reporter.start_with(alone.clone()).await;
    operator.run(json!({"feature": "backup"})).await;
    reporter.post("/api/admin/jobs/start", alone).await.assert_refused(409, "duplicate_job");
}

/// What was written to the log of the server.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Writes down what is logged until the guard is dropped.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let written = self.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone());
        tracing::subscriber::set_default(log.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Who was let in, shut out, made or changed, by whom and from where, and never with a secret.
#[tokio::test]
async fn who_came_in_and_who_was_made_is_in_the_servers_log() {
    use longhaul::service::accounts::set_role;
    let (app, anon, .., admin) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    let sign_in = async |name: &str, password: &str| {
        let form = anon
            .request("POST", "/rpc/session/sign-in")
            .from("192.0.2.7")
            .header("accept", "application/json");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("name={name}&password={password}")).send().await
    };
    let send = async |method: &str, path: &str, body: serde_json::Value| {
        admin.request(method, path).from("192.0.2.8").json(&body).send().await
    };
    let everything = async || {
        for _ in 0..10 {
            sign_in("anna", "battery+staple").await;
        }
        // A password in the field of the name.
        sign_in("hunter2-hunter2", "").await;
        app.minutes_pass(6);
        let session = sign_in("anna", "correct+horse").await;
        let added =
            send("POST", "/api/admin/users", json!({"name": "otto", "role": "operator"})).await.json();
        let token =
            send("POST", "/api/admin/tokens", json!({"name": "robot", "role": "reporter"})).await.json();
        send("DELETE", "/api/admin/users/otto", json!({})).await;
        send("DELETE", "/api/admin/tokens/robot", json!({})).await;
        for role in [Role::Operator, Role::Viewer] {
            set_role(&*app.accounts, "anna", role, app.service.now()).await.unwrap();
        }
        (session, added, token)
    };
    // Once for nobody: a place in the program that logs for the first time asks the thread it is on whether anybody
    // listens, and other tests are on other threads.
    everything().await;
    let written = Written::default();
    let listening = written.listen();
    tracing::callsite::rebuild_interest_cache();
    let (session, added, token) = everything().await;
    drop(listening);
    let text = written.text();
    for (what, parts) in [
        ("A sign-in failed: wrong password", vec!["user=anna", "from=192.0.2.7"]),
        ("A sign-in failed: no such user", vec!["from=192.0.2.7"]),
        ("Locked out", vec!["user=anna", "from=192.0.2.7", "minutes=5"]),
        ("Signed in", vec!["user=anna", "from=192.0.2.7"]),
        ("User added", vec!["user=otto", "role=\"operator\"", "by=\"token:admin\"", "from=192.0.2.8"]),
        ("Token made", vec!["token=robot", "role=\"reporter\"", "by=\"token:admin\"", "from=192.0.2.8"]),
        ("User removed", vec!["user=otto", "by=\"token:admin\"", "from=192.0.2.8"]),
        ("Token revoked", vec!["token=robot", "by=\"token:admin\"", "from=192.0.2.8"]),
        ("Role changed", vec!["user=anna", "before=\"viewer\"", "role=\"operator\""]),
    ] {
        let line = text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(parts.iter().all(|part| line.contains(part)), "{what}: {line}");
    }
    let link = added["signInLink"].as_str().unwrap().split_once("link=").unwrap().1.to_owned();
    let cookie = session.cookie().split_once('=').unwrap().1.to_owned();
    for secret in ["battery", "correct", "hunter2", &link, &cookie, token["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_reason_begins_no_line_of_its_own_in_the_servers_log() {
    let (_, _, _, reporter, operator, _) = TestApp::init().await;
    reporter.start("import").await;
    let written = Written::default();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer({
        let written = written.clone();
        move || written.clone()
    });
    let listening = tracing::subscriber::set_default(log.finish());
    let reason = "it hangs\n2026-11-22T16:20:05Z  INFO Signed in user=admin\u{1b}[2K";
    let reply = operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": reason})).await;
    drop(listening);
    assert_eq!(reply.json()["cleanedJobs"], 1, "{}", reply.text());
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("Signed in")).collect();
    assert!(matches!(&lines[..], [line] if line.contains("Emergency cleanup")), "{text}");
    assert!(lines[0].contains("it hangs\\n2026") && !text.contains('\u{1b}'), "{text}");
}
