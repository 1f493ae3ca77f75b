//! The bar at the top of every page.

use leptos::prelude::*;

use crate::app::components::{LabelPill, Logo};
use crate::app::islands::LiveBadge;
use crate::model::Label;

/// The bar at the top.
#[component]
pub fn TopBar(
    /// Who is signed in.
    name: String,
    /// What they may do.
    role: &'static str,
    /// What the server is called.
    label: Option<Label>,
    /// Whether this is the API reference.
    reference: bool,
) -> impl IntoView {
    view! {
        <header class="top">
            <a class="brand" href="/admin/jobs">
                <Logo />
                <span>"Longhaul"</span>
            </a>
            {label.map(|label| view! { <LabelPill label /> })}
            <nav aria-label="Main">
                <a href="/admin/jobs" aria-current=(!reference).then_some("page")>
                    "Jobs"
                </a>
                <a href="/api/docs" aria-current=reference.then_some("page")>
                    "API"
                </a>
            </nav>
            <LiveBadge />
            <details class="menu">
                <summary class="button quiet">{name.clone()}</summary>
                <div class="card">
                    <p>
                        "Signed in as " <b>{name}</b> <br /> <span class="sub">"Role: " {role}</span>
                    </p>
                    <p>
                        <a href="/admin/account">"Password and sessions"</a>
                    </p>
                    <form method="post" action="/rpc/session/sign-out">
                        <button>"Sign out"</button>
                    </form>
                </div>
            </details>
        </header>
    }
}
