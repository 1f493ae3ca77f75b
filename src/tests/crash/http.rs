//! As much HTTP as the kill tests need: a kept-alive connection that says at once when the server is gone.
//!
//! By hand rather than with reqwest: its pool sends a request again by itself when a kept connection turns
//! out to be dead, and whether a request was sent once or twice is exactly what these tests are about.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The bearer token the servers under test are started with.
pub const TOKEN: &str = "lh_crash-test-token-0123456789";

/// Longer than any answer takes; a server that hangs must fail the test rather than hold it up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a server.
pub struct Http(BufReader<TcpStream>);

impl Http {
    /// Connects.
    pub fn connect(port: u16) -> io::Result<Self> {
        Self::connect_with(port, PATIENCE)
    }

    /// Connects, to wait no longer than that for an answer.
    pub fn connect_with(port: u16, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks for something.
    pub fn get(&mut self, path: &str) -> io::Result<(u16, Value)> {
        self.send("GET", path, None, "")
    }

    /// Sends JSON, under an idempotency key where there is one.
    pub fn post(&mut self, path: &str, key: Option<&str>, body: &Value) -> io::Result<(u16, Value)> {
        self.send("POST", path, key, &body.to_string())
    }

    fn send(&mut self, method: &str, path: &str, key: Option<&str>, body: &str) -> io::Result<(u16, Value)> {
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: longhaul.test\r\nAuthorization: Bearer {TOKEN}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    /// Reads an answer whole: one that was cut off is an error, not an acknowledgement.
    fn answer(&mut self) -> io::Result<(u16, Value)> {
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("not an HTTP answer"))?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length.ok_or_else(|| io::Error::other("an answer without a length"))?];
        self.0.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
