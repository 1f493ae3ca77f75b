//! What is shown where no page is.

use axum::http::StatusCode;
use leptos::prelude::*;
use leptos_meta::Title;

use super::{page, set_status, tab};

/// There is no such page.
#[component]
pub fn NotFound() -> impl IntoView {
    set_status(StatusCode::NOT_FOUND);
    view! {
        <Title text=tab("Not found") />
        {page(|_| async {
            Ok(view! {
                <section class="card empty">
                    <h1>"There is no such page"</h1>
                    <p>
                        <a class="button" href="/admin/jobs">
                            "Go to the jobs"
                        </a>
                    </p>
                </section>
            }
            .into_any())
        })}
    }
}
