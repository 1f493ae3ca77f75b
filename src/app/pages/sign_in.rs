//! `/login`: with a name and a password, or with a one-time link.

use axum::http::request::Parts;
use leptos::prelude::*;
use leptos_meta::Title;

use super::{label, notice, query, service, settings, tab};
use crate::app::components::{LabelPill, Logo, NoticeBar};
use crate::http::OpenedOver;
use crate::model::MIN_PASSWORD_CHARS;

/// The way in.
#[component]
pub fn SignInPage() -> impl IntoView {
    let notice = notice();
    let notice = notice.map(|notice| view! { <NoticeBar text=notice.text refused=notice.refused /> });
    let (next, link) = (query("next").unwrap_or_default(), query("link"));
    let elsewhere = secure_address();
    let form = match (&elsewhere, link) {
        // No browser keeps what this form would bring, and the password would travel readable.
        (Some((OpenedOver::Plain, _)), _) => ().into_any(),
        (_, Some(link)) => view! { <Suspense>{by_link(link)}</Suspense> }.into_any(),
        (_, None) => by_password(next).into_any(),
    };
    let elsewhere = elsewhere.map(|(opened, address)| over_https(opened, address));
    view! {
        <Title text=tab("Sign in") />
        <main id="main" class="narrow">
            <div class="brand big">
                <Logo />
                "Longhaul"
                {label().map(|label| view! { <LabelPill label /> })}
            </div>
            {notice}
            {elsewhere}
            {form}
        </main>
    }
}

/// This page at the server's public address, where that is https and the page was opened otherwise.
fn secure_address() -> Option<(OpenedOver, String)> {
    let (settings, parts) = (settings().ok()?, use_context::<Parts>()?);
    if !settings.secure_cookie() {
        return None;
    }
    let opened = OpenedOver::of(&parts.extensions, &parts.headers, &settings.trusted_proxies);
    let here = parts.uri.path_and_query().map_or("/login", |here| here.as_str());
    (opened != OpenedOver::Secure).then(|| (opened, format!("{}{here}", settings.public_url())))
}

/// What is said of a page that was opened over http though the server is used over https.
fn over_https(opened: OpenedOver, address: String) -> impl IntoView {
    let said = match opened {
        OpenedOver::Plain => {
            "This page was opened over http. This server is used over https alone: nobody can sign in here."
        }
        _ => {
            "This page seems to have been opened over http. This server is used over https alone: if so, nobody can sign in here."
        }
    };
    view! {
        <section class="card">
            <h1>"Open this page over https"</h1>
            <p>{said}</p>
            <p>
                <a class="button" href=address.clone()>"Go on over https"</a>
            </p>
            <p class="sub"><code>{address}</code></p>
        </section>
    }
}

/// What makes a new link, where the server runs.
fn link_command() -> String {
    settings().map(|settings| settings.link_command("NAME")).unwrap_or_default()
}

fn by_password(next: String) -> impl IntoView {
    let command = link_command();
    view! {
        <form class="card form" method="post" action="/rpc/session/sign-in">
            <h1>"Sign in"</h1>
            <input type="hidden" name="next" value=next />
            <label>
                "Name" <input name="name" required autocomplete="username" autocapitalize="none" autofocus />
            </label>
            <label>
                "Password"
                <input name="password" type="password" required autocomplete="current-password" />
            </label>
            <button class="primary">"Sign in"</button>
            <p class="sub">
                "No password yet, or forgotten? On the server, " <code>{command}</code>
                " makes a one-time link."
            </p>
        </form>
    }
}

fn by_link(link: String) -> impl IntoView {
    let service = service();
    let command = link_command();
    Suspend::new(async move {
        let user = match service {
            Ok(service) => service.link_user(&link).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.error),
        };
        match user {
            Ok(name) => view! {
                <form class="card form" method="post" action="/rpc/session/choose-password">
                    <h1>"Welcome, " {name.clone()}</h1>
                    <p>"Choose a password. You are signed in right after."</p>
                    <input type="hidden" name="link" value=link />
                    <input type="hidden" name="name" value=name autocomplete="username" />
                    <label>
                        "Password"
                        <input
                            name="password"
                            type="password"
                            required
                            minlength=MIN_PASSWORD_CHARS
                            autocomplete="new-password"
                            autofocus
                        />
                        <small>"At least " {MIN_PASSWORD_CHARS} " characters."</small>
                    </label>
                    <label>
                        "Once more"
                        <input name="again" type="password" required minlength=MIN_PASSWORD_CHARS autocomplete="new-password" />
                    </label>
                    <button class="primary">"Save and sign in"</button>
                </form>
            }
            .into_any(),
            Err(text) => view! {
                <section class="card empty">
                    <h1>"This link does not work any more"</h1>
                    <p>{text}</p>
                    <p>"On the server, " <code>{command}</code> " makes a new one."</p>
                    <p>
                        <a class="button" href="/login">
                            "Sign in with a password"
                        </a>
                    </p>
                </section>
            }
            .into_any(),
        }
    })
}
