//! The pages as the server renders them, which is all a browser without JavaScript gets.

mod emergency_cleanup;
mod job;
mod overview;
mod sign_in;
mod stress;

/// No page may set a style on an element: the content security policy forbids it.
#[track_caller]
fn assert_no_inline_style(page: &str) {
    assert!(!page.contains(" style="), "a style attribute: {page}");
    assert!(!page.contains("<style"), "a style element: {page}");
}

/// What a visitor wrote is text on the page, never markup. What islands begin with lies in attributes,
/// where quotes and angle brackets must be written out too.
#[track_caller]
fn assert_escaped(page: &str) {
    for markup in ["<script>alert", "</title><script", "<img src=x", "onerror=alert(1)>\"'"] {
        assert!(!page.contains(markup), "{markup:?} came through: {}", around(page, markup));
    }
    assert!(page.contains("&lt;script&gt;alert"), "it is shown as text");
    let text = text_of(page);
    for hidden in ["\u{202e}", "\u{1b}"] {
        assert!(!text.contains(hidden), "{hidden:?} came through: {}", around(&text, hidden));
    }
}

/// What is between the tags: an attribute may hold what a person must not be shown.
fn text_of(page: &str) -> String {
    let (mut text, mut tag, mut quoted) = (String::new(), false, false);
    for c in page.chars() {
        match c {
            '<' if !tag => tag = true,
            '"' if tag => quoted = !quoted,
            '>' if tag && !quoted => tag = false,
            c if !tag => text.push(c),
            _ => {}
        }
    }
    text
}

fn around<'a>(page: &'a str, what: &str) -> &'a str {
    let at = page.find(what).unwrap_or(0);
    let from = page.floor_char_boundary(at.saturating_sub(150));
    &page[from..page.ceil_char_boundary((at + 150).min(page.len()))]
}
