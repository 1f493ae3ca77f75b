//! Reads server-sent events from a socket, as a browser does.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::Client;

/// An event.
#[derive(Debug)]
pub struct Event {
    /// To resume from.
    pub id: String,
    /// What it says.
    pub data: Value,
}

/// A stream of events.
pub struct EventReader {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

impl EventReader {
    pub async fn open(address: SocketAddr, client: &Client, query: &str, last_id: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut request =
            format!("GET /api/admin/jobs/events{query} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n");
        if let Some((name, value)) = client.credential_header() {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(id) = last_id {
            request.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        request.push_str("\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(socket).lines();
        let status = lines.next_line().await.unwrap().unwrap();
        assert!(status.contains("200"), "{status}");
        let mut kind = String::new();
        while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
            kind.push_str(&line.to_lowercase());
        }
        assert!(kind.contains("text/event-stream"), "{kind}");
        Self { lines }
    }

    /// The next event; `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(Duration::from_secs(10), self.read()).await.expect("an event was due")
    }

    /// Nothing comes for a moment.
    pub async fn assert_silent(&mut self) {
        let heard = tokio::time::timeout(Duration::from_millis(150), self.read()).await;
        assert!(heard.is_err(), "nothing had changed, but: {heard:?}");
    }

    async fn read(&mut self) -> Option<Event> {
        let (mut id, mut kind) = (String::new(), String::new());
        while let Some(line) = self.lines.next_line().await.unwrap() {
            // The end of a chunked body; the connection itself stays open for another request.
            if line == "0" {
                return None;
            }
            // What is neither is the framing of a chunked body.
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => kind = value.to_owned(),
                Some(("data", value)) if kind == "revision" => {
                    // An event's fields may come in any order.
                    while id.is_empty() {
                        let line = self.lines.next_line().await.unwrap()?;
                        if let Some(value) = line.strip_prefix("id: ") {
                            id = value.to_owned();
                        }
                    }
                    return Some(Event { id, data: serde_json::from_str(value).unwrap() });
                }
                _ => {}
            }
        }
        None
    }
}
