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
