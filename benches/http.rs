//! A small HTTP client: a kept-alive connection, and requests that are put together once.
//!
//! A client library would need more time on the load's core than the server needs on its own, so the
//! bench would measure the client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
    request: Vec<u8>,
    port: u16,
    credential: String,
}

/// An answer.
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a str,
    pub body: &'a [u8],
}

impl Http {
    /// Connects, to send that header with each request.
    pub async fn connect(port: u16, credential: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.set_nodelay(true)?;
        let (buffer, request) = (Vec::with_capacity(4_096), Vec::with_capacity(1_024));
        Ok(Self { stream, buffer, request, port, credential: credential.to_owned() })
    }

    pub async fn get(&mut self, path: &str) -> io::Result<Answer<'_>> {
        self.send("GET", path, "application/json", &[]).await
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer<'_>> {
        self.send("POST", path, "application/json", body).await
    }

    /// Sends a request and reads its answer whole.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Answer<'_>> {
        use std::io::Write as _;
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            self.credential,
            body.len()
        )?;
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        let (head_end, length) = loop {
            self.read().await?;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break (end + 4, body_length(&self.buffer[..end]));
            }
        };
        let end = match length {
            Some(length) => {
                while self.buffer.len() < head_end + length {
                    self.read().await?;
                }
                head_end + length
            }
            // In pieces: to the last one, which is empty.
            None => {
                while !self.buffer.ends_with(b"0\r\n\r\n") {
                    self.read().await?;
                }
                self.buffer.len()
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_end]).map_err(io::Error::other)?;
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("this is no HTTP"))?;
        Ok(Answer { status, head, body: &self.buffer[head_end..end] })
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn body_length(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
}
