//! `/admin/account`: one's own password, and where one is signed in.

use leptos::prelude::*;
use leptos_meta::Title;

use super::{page, tab};
use crate::app::components::TimeAt;
use crate::model::{MIN_PASSWORD_CHARS, visible};
use crate::service::OwnSession;

/// One's own account.
#[component]
pub fn AccountPage() -> impl IntoView {
    view! {
        <Title text=tab("Your account") />
        {page(|visit| async move {
            let sessions = visit.service.own_sessions(&visit.caller).await?;
            let name = visible(&visit.caller.actor.name, false).into_owned();
            Ok(view! {
                <div class="headline">
                    <div>
                        <p>
                            <a href="/admin/jobs">"Jobs"</a>
                            " / your account"
                        </p>
                        <h1>{name.clone()}</h1>
                    </div>
                </div>
                {password(name)}
                {browsers(sessions)}
            }
            .into_any())
        })}
    }
}

fn password(name: String) -> impl IntoView {
    view! {
        <form class="card form" method="post" action="/rpc/session/change-password">
            <h2>"Change the password"</h2>
            <p class="sub">"You stay signed in here, and are signed out everywhere else."</p>
            <input type="hidden" name="name" value=name autocomplete="username" />
            <label>
                "Current password"
                <input name="current" type="password" required autocomplete="current-password" />
            </label>
            <label>
                "New password"
                <input
                    name="password"
                    type="password"
                    required
                    minlength=MIN_PASSWORD_CHARS
                    autocomplete="new-password"
                />
                <small>"At least " {MIN_PASSWORD_CHARS} " characters."</small>
            </label>
            <label>
                "Once more"
                <input name="again" type="password" required minlength=MIN_PASSWORD_CHARS autocomplete="new-password" />
            </label>
            <button class="primary">"Change the password"</button>
        </form>
    }
}

fn browsers(sessions: Vec<OwnSession>) -> impl IntoView {
    let others = sessions.iter().any(|session| !session.here);
    let rows = sessions.into_iter().map(|session| {
        let agent = if session.agent.is_empty() { "A browser".to_owned() } else { session.agent };
        let from =
            if session.address.is_empty() { String::new() } else { format!("from {},", session.address) };
        view! {
            <li>
                <p>
                    {visible(&agent, false).into_owned()}
                    <span class="sub">
                        {visible(&from, false).into_owned()} " since " <TimeAt at=session.since />
                    </span>
                </p>
                {if session.here {
                    view! { <p class="sub">"This browser"</p> }.into_any()
                } else {
                    view! {
                        <form method="post" action="/rpc/session/end">
                            <input type="hidden" name="id" value=session.id />
                            <button>"Sign out there"</button>
                        </form>
                    }
                    .into_any()
                }}
            </li>
        }
    });
    view! {
        <section class="card sessions" aria-labelledby="sessions">
            <header>
                <h2 id="sessions">"Where you are signed in"</h2>
                {others.then(|| {
                    view! {
                        <form method="post" action="/rpc/session/end">
                            <button>"Sign out everywhere else"</button>
                        </form>
                    }
                })}
            </header>
            <ul>{rows.collect_view()}</ul>
        </section>
    }
}
