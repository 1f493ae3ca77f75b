//! `/rpc/session/…` as calls; as forms they are told in `access`.

use longhaul::model::Role;
use serde_json::json;

use crate::support::{Client, Credential, TestApp};

#[tokio::test]
async fn signing_in_by_a_call_sets_the_cookie_and_names_the_page() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    let reply = anon.call("/rpc/session/sign-in", &[("name", " anna "), ("password", "correct horse")]).await;
    assert_eq!((reply.status().as_u16(), reply.location()), (200, "/admin/jobs"));
    let browser = app.client(Some(Credential::Cookie(reply.cookie())));
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 200);
    let reply = browser.call("/rpc/session/sign-out", &[]).await;
    assert_eq!((reply.status().as_u16(), reply.location()), (200, "/login?notice=signed-out"));
    assert_eq!(browser.get("/api/admin/jobs").await.status(), 401);
}

#[tokio::test]
async fn nobody_comes_in_without_the_right_password() {
    let (app, anon, ..) = TestApp::init().await;
    app.user("anna", Role::Admin, "correct horse").await;
    longhaul::service::accounts::add_user(&*app.accounts, "new", Role::Admin, app.service.now())
        .await
        .unwrap();
    let long = "x".repeat(5_000);
    for (name, password) in [
        ("anna", ""),
        ("anna", "correct horse "),
        ("anna", "Correct horse"),
        ("Anna", "correct horse"),
        ("", ""),
        ("nobody", "correct horse"),
        ("new", ""),
        ("anna", long.as_str()),
    ] {
        let reply = anon.call("/rpc/session/sign-in", &[("name", name), ("password", password)]).await;
        reply.assert_refused(401, "wrong_password");
        assert!(reply.header("set-cookie").is_empty());
    }
    anon.call("/rpc/session/sign-in", &[]).await.assert_refused(401, "wrong_password");
}

#[tokio::test]
async fn a_password_is_chosen_by_a_call_or_refused_in_its_terms() {
    let (_, anon, .., admin) = TestApp::init().await;
    let added = admin.post("/api/admin/users", json!({"name": "anna"})).await.json();
    let link = added["signInLink"].as_str().unwrap().split_once("link=").unwrap().1.to_owned();
    let choose = async |link: &str, password: &str, again: &str| {
        let fields = [("link", link), ("password", password), ("again", again)];
        anon.call("/rpc/session/choose-password", &fields).await
    };
    choose(&link, "correct horse", "other horse").await.assert_refused(400, "password_differs");
    choose(&link, "short", "short").await.assert_refused(400, "password_short");
    choose("nonsense", "correct horse", "correct horse").await.assert_refused(410, "link_expired");
    let long = "x".repeat(1_025);
    choose(&link, &long, &long).await.assert_refused(400, "password_long");
    let reply = choose(&link, "correct horse", "correct horse").await;
    assert_eq!((reply.status().as_u16(), reply.location()), (200, "/admin/jobs"));
    choose(&link, "correct horse", "correct horse").await.assert_refused(410, "link_expired");
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let (app, anon, ..) = TestApp::init().await;
    let old = app.signed_in("anna", Role::Viewer).await;
    let link =
        longhaul::service::accounts::make_link(&*app.accounts, "anna", app.service.now()).await.unwrap();
    let fields = [("link", link.as_str()), ("password", "another horse"), ("again", "another horse")];
    let new = anon.form("/rpc/session/choose-password", &fields).await;
    old.get("/api/admin/jobs").await.assert_refused(401, "not_signed_in");
    let new = app.client(Some(Credential::Cookie(new.cookie())));
    assert_eq!(new.get("/api/admin/jobs").await.status(), 200);
}

#[tokio::test]
async fn one_changes_ones_own_password_and_signs_out_elsewhere() {
    let (app, anon, viewer, ..) = TestApp::init().await;
    let here = app.signed_in("anna", Role::Viewer).await;
    let fields = [("name", "anna"), ("password", "correct horse")];
    let sign_in = async || {
        let reply = anon.form("/rpc/session/sign-in", &fields).await;
        app.client(Some(Credential::Cookie(reply.cookie())))
    };
    let (there, elsewhere) = (sign_in().await, sign_in().await);
    let page = here.page("/admin/account").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.text().matches("Sign out there").count(), 2, "{}", page.text());
    assert!(page.text().contains("This browser"));
    // One of them; which is which is not said, so the first.
    let id = page.text().split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    here.form("/rpc/session/end", &[("id", &id)])
        .await
        .assert_sent_to("/admin/account?notice=sessions-ended");
    let alive = async |who: &Client| who.get("/api/admin/jobs").await.status() == 200;
    assert!(alive(&here).await && alive(&there).await != alive(&elsewhere).await);
    here.form("/rpc/session/end", &[]).await.assert_sent_to("/admin/account?notice=sessions-ended");
    assert!(alive(&here).await && !alive(&there).await && !alive(&elsewhere).await);
    // Another's session is nobody else's to end.
    let otto = app.signed_in("otto", Role::Viewer).await;
    let there = sign_in().await;
    let ids = here.page("/admin/account").await;
    let id = ids.text().split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    otto.form("/rpc/session/end", &[("id", &id)]).await;
    assert!(alive(&there).await);

    let change = async |current: &str, password: &str, again: &str| {
        let fields = [("current", current), ("password", password), ("again", again)];
        here.form("/rpc/session/change-password", &fields).await
    };
    for (current, password, again, code) in [
        ("wrong horse", "another horse", "another horse", "wrong_password"),
        ("correct horse", "another horse", "other horse", "password_differs"),
        ("correct horse", "short", "short", "password_short"),
    ] {
        let reply = change(current, password, again).await;
        reply.assert_sent_to(&format!("/admin/account?notice={code}"));
    }
    assert!(alive(&there).await && alive(&here).await);
    let changed = change("correct horse", "another horse", "another horse").await;
    changed.assert_sent_to("/admin/account?notice=password-changed");
    assert!(!alive(&there).await && !alive(&here).await, "the old cookie goes with the old password");
    assert!(alive(&app.client(Some(Credential::Cookie(changed.cookie())))).await);
    anon.call("/rpc/session/sign-in", &fields).await.assert_refused(401, "wrong_password");
    // A token has neither.
    assert_eq!(viewer.page("/admin/account").await.status(), 409);
}
