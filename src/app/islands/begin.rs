//! What the island that follows the server begins with: what its page was rendered with.

use leptos::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::live::dom;
use crate::view::{pack, unpack};

/// Gives a page's island what it begins with: to the one that is rendered now, and to the one in the browser.
/// Stands before the island.
#[component]
pub fn Begin<T: Serialize + Clone + Send + Sync + 'static>(
    /// With what.
    with: T,
) -> impl IntoView {
    let packed = pack(&with);
    provide_context(with);
    view! { <div hidden data-begin=packed></div> }
}

/// What the page's island begins with.
pub fn begun_with<T: DeserializeOwned + Clone + Send + Sync + 'static>() -> T {
    if !cfg!(feature = "hydrate") {
        return expect_context();
    }
    match dom::begin().as_deref().and_then(unpack) {
        Some(with) => with,
        // The page stays as it was rendered.
        None => wasm_bindgen::throw_str("this page was rendered by another build"),
    }
}
