//! What tests are written with: an application, the people who use it, and their answers.

mod app;
mod client;
mod events;
mod reply;

use std::future::Future;
use std::time::{Duration, Instant};

pub use app::{Builder, TestApp};
pub use client::{Client, Credential, Started};
pub use events::EventReader;
pub use reply::Reply;

/// Markup and a script, which a page must show as text.
pub const HOSTILE: &str =
    "</title><script>alert('x')</script><img src=x onerror=alert(1)>\"'&\u{202e}\u{1b}[31m";

/// What `check` comes to hold, within a bounded time. For what other tasks do: nothing here waits for a
/// timeout of the product.
#[track_caller]
pub fn eventually<'a, T, F, Check>(
    what: &'a str,
    mut check: F,
) -> impl Future<Output = T> + use<'a, T, F, Check>
where
    F: FnMut() -> Check,
    Check: Future<Output = Option<T>>,
{
    let place = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(value) = check().await {
                return value;
            }
            assert!(Instant::now() < deadline, "{place}: never came: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Text as it may stand in a query or a form.
pub fn encode(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}
