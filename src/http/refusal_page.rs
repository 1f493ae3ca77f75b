//! A refusal as a page: whoever sends a form with a browser is answered in the product's own look, never JSON.

use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

/// What such a page may load: its look.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Whether a browser asks, for a person to read.
pub fn wants_html(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    !path.starts_with("/api/admin") && accept.is_some_and(|accept| accept.contains("text/html"))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn title_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "That could not be read",
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::FORBIDDEN => "That is not allowed",
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::METHOD_NOT_ALLOWED => "This page does not answer that",
        StatusCode::PAYLOAD_TOO_LARGE => "That was too much",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "Not at this moment",
        status if status.is_server_error() => "Something went wrong",
        _ => "That was refused",
    }
}

/// A page that says no, with a way on.
pub fn refusal_page(status: StatusCode, build: &str, text: &str) -> Response {
    let (title, text, build) = (title_of(status), escape(text), escape(build));
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\" translate=\"no\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"google\" content=\"notranslate\">\
         <title>{title} · Longhaul</title>\
         <link rel=\"icon\" type=\"image/svg+xml\" href=\"/favicon.svg\">\
         <link rel=\"stylesheet\" href=\"/pkg/{build}/longhaul.css\"></head>\
         <body><main id=\"main\" class=\"narrow\"><section class=\"card empty\"><h1>{title}</h1><p>{text}</p>\
         <p><a class=\"button\" href=\"/admin/jobs\">To the jobs</a></p></section></main></body></html>"
    );
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_on_the_page_is_text() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
