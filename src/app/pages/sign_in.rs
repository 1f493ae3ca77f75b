//! `/login`: with a name and a password, or with a one-time link.

use leptos::prelude::*;
use leptos_meta::Title;

use super::{label, notice, query, service, settings, tab};
use crate::app::components::{LabelPill, Logo, NoticeBar};
use crate::model::MIN_PASSWORD_CHARS;

/// The way in.
#[component]
pub fn SignInPage() -> impl IntoView {
    let notice = notice();
    let notice = notice.map(|notice| view! { <NoticeBar text=notice.text refused=notice.refused /> });
    let (next, link) = (query("next").unwrap_or_default(), query("link"));
    let form = match link {
        Some(link) => view! { <Suspense>{by_link(link)}</Suspense> }.into_any(),
        None => by_password(next).into_any(),
    };
    view! {
        <Title text=tab("Sign in") />
        <main id="main" class="narrow">
            <div class="brand big">
                <Logo />
                "Longhaul"
                {label().map(|label| view! { <LabelPill label /> })}
            </div>
            {notice}
            {form}
        </main>
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
