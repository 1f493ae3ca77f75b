//! What somebody was answered.

use axum::body::Bytes;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An answer.
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub fn without_body(response: Response) -> Self {
        let (parts, _) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: Bytes::new() }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.read_as()
    }

    /// Its body as something that was written as JSON.
    #[track_caller]
    pub fn read_as<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Its body as what open pages read.
    #[track_caller]
    pub fn read_packed<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.header("content-type"), "application/x-postcard", "{}", self.text());
        postcard::from_bytes(&self.body).unwrap()
    }

    /// A header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Every value of a header that may come more than once.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Where it sends a browser.
    pub fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    /// The cookie it sets, `name=value`.
    #[track_caller]
    pub fn cookie(&self) -> String {
        let cookie = self.header(SET_COOKIE.as_str());
        assert!(!cookie.is_empty(), "no cookie was set: {} {}", self.status, self.text());
        cookie.split(';').next().unwrap().to_owned()
    }

    /// It was done.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.status().is_success(), "{}: {}", self.status(), self.text());
    }

    /// It is a refusal: the status, the one envelope, this code, and a sentence.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        let sentence = body["error"].as_str().unwrap();
        assert!(sentence.ends_with('.') && sentence.len() > 10, "not a sentence: {sentence}");
        let known = ["error", "code", "details"];
        assert!(body.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{body}");
    }

    /// It is a whole page.
    #[track_caller]
    pub fn assert_page(&self, status: u16) -> &str {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert!(self.header("content-type").starts_with("text/html"), "{}", self.header("content-type"));
        assert!(text.starts_with("<!DOCTYPE html>"), "{text}");
        // The renderer puts its (empty) tables of resources behind the document, the last of them at the
        // very end: a page without it was cut off.
        let (document, behind) = text.split_once("</html>").unwrap_or_else(|| panic!("cut off: {text}"));
        assert!(document.contains("<main") && !behind.contains("</html>"), "{text}");
        assert!(behind.ends_with("__INCOMPLETE_CHUNKS=[];</script>"), "cut off: {behind}");
        text
    }

    /// It sends a form's sender to a page that says so.
    #[track_caller]
    pub fn assert_sent_to(&self, address: &str) {
        assert_eq!((self.status.as_u16(), self.location()), (302, address), "{}", self.text());
    }
}
