//! What is shown where no page is.

use axum::http::StatusCode;
use leptos::prelude::*;
use leptos_meta::Title;

use super::set_status;

/// There is no such page.
#[component]
pub fn NotFound() -> impl IntoView {
    set_status(StatusCode::NOT_FOUND);
    view! {
        <Title text="Not found · Longhaul" />
        <main id="main" class="narrow">
            <section class="card empty">
                <h1>"There is no such page"</h1>
                <p>
                    <a class="button" href="/admin/jobs">
                        "Go to the jobs"
                    </a>
                </p>
            </section>
        </main>
    }
}
