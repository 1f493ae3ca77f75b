//! `/login`, and the ways that lead to it.

use longhaul::model::Role;

use super::assert_no_inline_style;
use crate::support::{HOSTILE, TestApp, encode};

#[tokio::test]
async fn the_way_in_is_a_form_that_needs_no_script() {
    let (_, anon, ..) = TestApp::init().await;
    let page = anon.page("/login").await;
    let text = page.assert_page(200);
    assert!(text.contains("<title>Sign in · Longhaul</title>"));
    assert!(text.contains("method=\"post\" action=\"/rpc/session/sign-in\""));
    assert!(text.contains("name=\"password\" type=\"password\""));
    assert_no_inline_style(text);
}

#[tokio::test]
async fn only_known_notices_are_shown() {
    let (_, anon, ..) = TestApp::init().await;
    let page = anon.page("/login?notice=signed-out").await;
    assert!(page.assert_page(200).contains("You are signed out."));
    for forged in ["Your+account+was+hacked.+Call+555", "", "%3Cscript%3E"] {
        let page = anon.page(&format!("/login?notice={forged}")).await;
        assert!(!page.assert_page(200).contains("class=\"notice"), "{forged}");
    }
}

#[tokio::test]
async fn what_an_address_carries_is_never_markup() {
    let (_, anon, ..) = TestApp::init().await;
    for name in ["next", "link", "notice"] {
        let page = anon.page(&format!("/login?{name}={}", encode(HOSTILE))).await;
        let text = page.assert_page(200);
        assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{name}");
    }
}

#[tokio::test]
async fn a_page_leads_to_the_way_in_and_back() {
    let (app, anon, ..) = TestApp::init().await;
    for path in ["/", "/admin/jobs", "/admin/jobs/x?ask=abort", "/api/docs/", "/nowhere"] {
        let reply = anon.page(path).await;
        assert_eq!(reply.status(), 303, "{path}");
        assert_eq!(reply.location(), format!("/login?next={}", encode(path).replace("%2F", "/")));
    }
    let anna = app.signed_in("anna", Role::Viewer).await;
    assert_eq!(anna.page("/").await.location(), "/admin/jobs");
    let page = anna.page("/admin/jobs").await;
    assert!(page.assert_page(200).contains("Signed in as <b>anna</b>"));
    assert!(page.text().contains("action=\"/rpc/session/sign-out\""));
}

#[tokio::test]
async fn a_page_that_was_opened_over_http_says_that_the_server_is_used_over_https() {
    let public = "https://jobs.example.org";
    let (_, anon, ..) = TestApp::with().public_url(public).trusted("127.0.0.0/8").init().await;
    let page = async |from: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = anon.request("GET", path).from(from).header("accept", "text/html");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = request.send().await;
        assert_eq!(reply.status(), 200, "{path}: it leads nowhere by itself");
        reply.text().to_owned()
    };
    let (proxy, other) = ("127.0.0.1", "192.0.2.1");
    for (from, headers, told, form) in [
        (proxy, &[("x-forwarded-proto", "http")][..], true, false),
        (proxy, &[("x-forwarded-proto", "https")], false, true),
        (proxy, &[("sec-fetch-site", "none")], false, true),
        // A proxy that says nothing, or one that is not ours: the page says so and leaves the form.
        (proxy, &[], true, true),
        (other, &[("x-forwarded-proto", "https")], true, true),
        (other, &[("x-forwarded-proto", "http"), ("sec-fetch-site", "same-origin")], false, true),
    ] {
        let text = page(from, "/login?next=/admin/jobs%3Fq%3Dx&link=abc", headers).await;
        let address = "href=\"https://jobs.example.org/login?next=/admin/jobs%3Fq%3Dx&amp;link=abc\"";
        assert_eq!(text.contains("Open this page over https"), told, "{from} {headers:?}");
        assert_eq!(text.contains(address), told, "{from} {headers:?}: {text}");
        let text = page(from, "/login", headers).await;
        assert_eq!(text.contains("name=\"password\""), form, "{from} {headers:?}");
    }
    for public in ["", "http://box.lan"] {
        let (_, anon, ..) = TestApp::with().public_url(public).init().await;
        let text = anon.page("/login").await.text().to_owned();
        assert!(!text.contains("over https"), "{public}");
    }
}
