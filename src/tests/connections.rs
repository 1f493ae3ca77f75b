//! Connections: crowds that say nothing, say half, or do not listen, and the people beside them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longhaul::model::Role;
use longhaul::server::ConnectionLimits;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Client, TestApp, eventually};

/// Small enough for a test to reach them.
const FEW: ConnectionLimits = ConnectionLimits {
    most: 40,
    idle: Duration::from_secs(20),
    head: Duration::from_secs(20),
    unread: Duration::from_secs(20),
};

async fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(text.as_bytes()).await;
    socket
}

/// What comes until the other end closes, or nothing came for a while.
async fn read(socket: &mut TcpStream, within: Duration) -> Option<String> {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(within, socket.read_to_end(&mut bytes)).await;
    ended.ok().map(|_| String::from_utf8_lossy(&bytes).into_owned())
}

fn get(path: &str, client: &Client, more: &str) -> String {
    let shown =
        client.credential_header().map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{shown}{more}\r\n")
}

fn form(fields: &str) -> String {
    format!(
        "POST /rpc/session/sign-in HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{fields}",
        fields.len()
    )
}

/// Answers on a connection that stays open.
async fn asks_again(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 64 * 1024];
    let count =
        tokio::time::timeout(Duration::from_secs(10), socket.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_shut_nobody_out() {
    let (app, _, viewer, ..) = TestApp::init().await;
    app.user("anna", Role::Viewer, "correct horse").await;
    let (address, _) = app.listen_within(FEW).await;
    let list = get("/api/admin/jobs", &viewer, "");
    let mut kept = connect(address, "").await;
    assert!(asks_again(&mut kept, &list).await.starts_with("HTTP/1.1 200"));
    let half = "POST /rpc/session/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nname=an";
    for (crowd, says) in [("silent", ""), ("half a head", "GET /login HTTP/1.1\r\nHo"), ("half a form", half)]
    {
        let mut sockets = Vec::new();
        for _ in 0..100 {
            sockets.push(connect(address, says).await);
        }
        assert!(asks_again(&mut kept, &list).await.starts_with("HTTP/1.1 200"), "{crowd}: who is signed in");
        let mut new = connect(address, &get("/api/admin/jobs", &viewer, "Connection: close\r\n")).await;
        assert!(
            read(&mut new, Duration::from_secs(10)).await.unwrap().starts_with("HTTP/1.1 200"),
            "{crowd}"
        );
        let mut sign_in = connect(address, &form("name=anna&password=correct+horse")).await;
        let answer = read(&mut sign_in, Duration::from_secs(20)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{crowd}: who is about to sign in: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_takes_more_than_its_share_of_the_connections() {
    let (app, anon, viewer, reporter, ..) = TestApp::init().await;
    let cookie = app.signed_in("anna", Role::Viewer).await;
    let (address, _) = app.listen_within(FEW).await;
    let list = |who: &Client| get("/api/admin/jobs", who, "");
    for greedy in [&viewer, &cookie] {
        let mut open = Vec::new();
        for _ in 0..FEW.most_each() {
            let mut socket = connect(address, "").await;
            assert!(asks_again(&mut socket, &list(greedy)).await.starts_with("HTTP/1.1 200"));
            open.push(socket);
        }
        // One more is told so, and closed; streams count as any other connection.
        for path in ["/api/admin/jobs", "/api/admin/jobs/events"] {
            let mut refused = connect(address, &get(path, greedy, "")).await;
            let answer = read(&mut refused, Duration::from_secs(10)).await.expect("it is closed");
            assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
            for part in
                ["too_many_connections", "retry-after: 5", "10 connections are open", "--max-connections"]
            {
                assert!(answer.contains(part), "`{part}` is not in {answer}");
            }
        }
        // Those that are open go on, and so does everybody else, also on a connection that a proxy shares.
        assert!(asks_again(&mut open[0], &list(greedy)).await.starts_with("HTTP/1.1 200"));
        for other in [&anon, &reporter] {
            let path = if other.credential_header().is_none() { "/healthz" } else { "/api/admin/jobs" };
            let mut socket = connect(address, &get(path, other, "Connection: close\r\n")).await;
            assert!(read(&mut socket, Duration::from_secs(10)).await.unwrap().starts_with("HTTP/1.1 200"));
        }
        // A connection that another has taken over counts with that one.
        assert!(asks_again(&mut open[1], &list(&reporter)).await.starts_with("HTTP/1.1 200"));
        let mut again = connect(address, "").await;
        assert!(asks_again(&mut again, &list(greedy)).await.starts_with("HTTP/1.1 200"));
        // Closing one makes room for one.
        drop((again, open));
        let ask = async || {
            let mut new = connect(address, &get("/api/admin/jobs", greedy, "Connection: close\r\n")).await;
            let answer = read(&mut new, Duration::from_secs(10)).await?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        };
        eventually("there is room again", ask).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_for_ever() {
    let (app, anon, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    for _ in 0..20 {
        let lines: Vec<_> = (0..16).map(|_| json!({"type": "info", "message": "x".repeat(60_000)})).collect();
        assert_eq!(reporter.post(&job.at("message"), json!(lines)).await.status(), 200);
    }
    let short = Duration::from_millis(300);
    let limits = ConnectionLimits { most: 1_000, idle: short * 3, head: short, unread: short };
    let (address, _) = app.listen_within(limits).await;
    let since = Instant::now();
    let closed = async |text: &str| {
        let mut socket = connect(address, text).await;
        read(&mut socket, Duration::from_secs(10)).await.expect("it was not closed")
    };
    assert_eq!(closed("GET /login HTTP/1.1\r\nHo").await, "", "half a head");
    closed("").await;
    assert!(closed(&get("/healthz", &anon, "")).await.starts_with("HTTP/1.1 200"), "nothing after an answer");
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    // A head that comes byte by byte has no more time.
    let mut drip = connect(address, "").await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(8) && drip.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(since.elapsed() < Duration::from_secs(8));
    // An answer that nobody reads is given up: what was under way comes, and the rest does not.
    let path = job.at("messages?limit=1000");
    let unread = TcpSocket::new_v4().unwrap();
    unread.set_recv_buffer_size(4_096).unwrap();
    let mut unread = unread.connect(address).await.unwrap();
    unread.write_all(get(&path, &viewer, "").as_bytes()).await.unwrap();
    tokio::time::sleep(short * 8).await;
    let whole = viewer.get(&path).await.text().len();
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), unread.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.len() < whole, "{} of {whole}", bytes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_has_nothing_read() {
    let (app, _, viewer, reporter, operator, _) = TestApp::init().await;
    let job = reporter.start("import").await;
    let (address, _) = app.listen_within(FEW).await;
    for (client, path, may) in [
        (&viewer, "/api/admin/jobs/start".to_owned(), false),
        (&viewer, job.at("message"), false),
        (&viewer, job.at("progress"), false),
        (&viewer, job.at("complete"), false),
        (&reporter, job.at("abort"), false),
        (&reporter, "/api/admin/jobs/run".to_owned(), false),
        (&reporter, "/api/admin/jobs/emergency-cleanup".to_owned(), false),
        (&operator, "/api/admin/users".to_owned(), false),
        (&operator, "/api/admin/tokens".to_owned(), false),
        (&reporter, job.at("message"), true),
    ] {
        let (name, value) = client.credential_header().unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: application/json\r\n\
             Content-Length: 500000\r\n\r\n["
        );
        let mut socket = connect(address, &head).await;
        let mut answer = [0; 12];
        let answered = tokio::time::timeout(
            Duration::from_millis(if may { 300 } else { 5_000 }),
            socket.read_exact(&mut answer),
        );
        match answered.await {
            Ok(read) => {
                read.unwrap();
                assert!(!may && answer == *b"HTTP/1.1 403", "{path}: {}", String::from_utf8_lossy(&answer));
            }
            Err(_) => assert!(may, "{path}: it waits for the rest"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_lets_go_of_the_idle_and_ends_what_is_under_way() {
    let (app, anon, viewer, ..) = TestApp::init().await;
    let (address, server) = app.listen_within(FEW).await;
    let mut idle = connect(address, "").await;
    assert!(asks_again(&mut idle, &get("/healthz", &anon, "")).await.starts_with("HTTP/1.1 200"));
    let mut stream = connect(address, &get("/api/admin/jobs/events", &viewer, "")).await;
    let mut under_way = connect(address, &form("name=anna&password=wrong+horse")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    app.closing.cancel();
    let answer = read(&mut under_way, Duration::from_secs(10)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(read(&mut idle, Duration::from_secs(5)).await.is_some(), "an idle one is closed");
    assert!(read(&mut stream, Duration::from_secs(5)).await.is_some(), "a stream ends");
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("all have ended").unwrap();
    let refused = eventually("nobody listens", async || TcpStream::connect(address).await.err());
    assert_eq!(refused.await.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Reads answers until so many have come.
async fn answers(socket: &mut TcpStream, count: usize) -> String {
    let mut said = String::new();
    let mut bytes = vec![0; 64 * 1024];
    while said.matches("HTTP/1.1 ").count() < count || !said.ends_with("ok\n") {
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut bytes));
        let read = read.await.expect("an answer was due").unwrap();
        assert!(read > 0, "it was closed after: {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_in_their_order_however_they_arrive() {
    let (app, anon, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let (address, _) = app.listen_within(FEW).await;
    let health = get("/healthz", &anon, "");
    let nothing = get("/no-such-path", &reporter, "");
    let said = r#"{"type":"info","message":"hello"}"#;
    let post = |client: &Client, more: &str, body: &str| {
        let ((name, value), path) = (client.credential_header().unwrap(), job.at("message"));
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: application/json\r\n{more}\r\n{body}"
        )
    };
    let whole = post(&reporter, &format!("Content-Length: {}\r\n", said.len()), said);
    let in_chunks = format!("{:x}\r\n{said}\r\n0\r\n\r\n", said.len());
    let chunked = post(&reporter, "Transfer-Encoding: chunked\r\n", &in_chunks);
    // All at once, in two halves cut anywhere, and byte by byte.
    let all = [&health, &whole, &nothing, &chunked, &health].map(String::as_str).concat();
    let bytes = all.as_bytes();
    let statuses = ["200", "200", "404", "200", "200"];
    let mut ways: Vec<Vec<&[u8]>> = vec![vec![bytes], bytes.chunks(1).collect()];
    for cut in [1, health.len() - 1, health.len(), health.len() + whole.len() - 3, bytes.len() - 1] {
        ways.push(vec![&bytes[..cut], &bytes[cut..]]);
    }
    let mut socket = connect(address, "").await;
    socket.set_nodelay(true).unwrap();
    for parts in ways {
        let pause = Duration::from_millis(if parts.len() > 2 { 0 } else { 20 });
        for part in parts {
            socket.write_all(part).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        let said = answers(&mut socket, statuses.len()).await;
        let came: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(came, statuses, "{said}");
    }
    // What is refused unread ends the connection: what follows is its body, and no request.
    let refused = post(&viewer, "Content-Length: 500000\r\n", "[");
    socket.write_all(refused.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    let _ = socket.write_all(health.as_bytes()).await;
    let rest = read(&mut socket, Duration::from_secs(10)).await.expect("it is closed");
    assert!(!rest.contains("HTTP/1.1 200"), "{rest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_is_sent_as_its_listener_can_read_it() {
    let (app, _, viewer, reporter, ..) = TestApp::init().await;
    let job = reporter.start("import").await;
    let (address, _) = app.listen_within(FEW).await;
    let ask = get("/api/admin/jobs/events", &viewer, "");
    let until = async |socket: &mut TcpStream, what: &str| {
        let mut said = String::new();
        let mut bytes = [0; 4_096];
        while !said.contains(what) {
            let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut bytes));
            let read = read.await.expect("an event was due").unwrap();
            assert!(read > 0, "it was closed after: {said}");
            said.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        said
    };
    // In chunks; whoever says something meanwhile is not answered, and hears on.
    let mut new = connect(address, &ask).await;
    let head = until(&mut new, "\n\n\r\n").await;
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
    new.write_all(ask.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    reporter.post(&job.at("message"), json!({"type": "info", "message": "x"})).await;
    let event = until(&mut new, "\n\n\r\n").await;
    let (size, piece) = event.split_once("\r\n").unwrap();
    assert_eq!(usize::from_str_radix(size, 16).unwrap(), piece.len() - 2, "{event}");
    assert!(piece.starts_with("event: revision\nid: ") && piece.contains(&job.id), "{event}");
    // An older client knows no chunks.
    let mut old = connect(address, &ask.replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = until(&mut old, "\n\n").await;
    assert!(!head.to_lowercase().contains("chunked") && head.contains("\r\n\r\nevent: revision\n"), "{head}");
    // Whoever goes is let go of, and whoever stays is told of the end.
    drop(old);
    app.closing.cancel();
    assert!(read(&mut new, Duration::from_secs(5)).await.expect("it ends").ends_with("0\r\n\r\n"));
}
