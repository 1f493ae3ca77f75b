//! The dashboard.
//!
//! Pages are rendered on the server, whole, and routed by it: links and filters are addresses, recovery is
//! plain forms. What moves is an island, which starts from the data it was rendered with (ARCHITECTURE decision
//! 10). `pages` run on the server only; `components` draw and know no browser; `islands` are what the
//! browser is sent, and `islands/live` the only place that speaks to it.

// A component owns what it is given: it is called as a tag, and a tag does not lend.
#![allow(clippy::needless_pass_by_value)]

pub mod components;
pub mod islands;
#[cfg(feature = "ssr")]
mod pages;
pub(crate) mod reactive;
mod zone;

#[cfg(feature = "ssr")]
use leptos::{config::LeptosOptions, nonce::use_nonce, prelude::*};
#[cfg(feature = "ssr")]
use leptos_meta::{MetaTags, provide_meta_context};

/// Some translators pay no heed to `translate="no"`. They put `<font>` elements into the place of texts, and the
/// page would go on writing into texts that nobody sees. This script remembers each text that was taken away with
/// what stands for it, and brings it back when the page changes it, and before the page comes to life: an island
/// reads its own texts. It watches from the page's first line on, long before the program is there.
#[cfg(feature = "ssr")]
const ORIGINALS: &str = include_str!("app/originals.js");

/// The document every page is put into.
#[cfg(feature = "ssr")]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let style = format!("/{}/longhaul.css", options.site_pkg_dir);
    view! {
        <!DOCTYPE html>
        // A translator replaces the texts that the page changes. `originals.js` is for those that do so all the same.
        <html lang="en" translate="no">
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="google" content="notranslate" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" type="image/svg+xml" href="/favicon.svg" />
                <link rel="stylesheet" href=style />
                <script nonce=use_nonce() inner_html=ORIGINALS></script>
                <AutoReload options=options.clone() />
                <HydrationScripts options islands=true />
                <MetaTags />
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}

/// The pages, by address.
#[cfg(feature = "ssr")]
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    pages::Pages()
}
