//! What `exec` itself has to say. It goes to stderr, between the command's own lines, and begins with its
//! name so that nobody takes it for the command's.
//!
//! Nobody may be reading there, and a full pipe holds whoever writes to it. So a thread of its own writes,
//! and what it cannot keep up with is not said: stopping a command must not wait for a reader.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// So many sentences may wait to be written.
const MOST_WAITING: usize = 256;

/// Where `exec` speaks. Cheap to clone.
#[derive(Clone)]
pub struct Notices(SyncSender<Said>);

enum Said {
    Line(String),
    /// Asks whether everything before it was written.
    Heard(oneshot::Sender<()>),
}

impl Notices {
    /// Speaks to `to`.
    pub fn new(to: impl Write + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        // Without a thread nobody hears anything, and the command runs all the same.
        let _ = std::thread::Builder::new().name("notices".to_owned()).spawn(move || write(to, &receiver));
        Self(sender)
    }

    /// Says a sentence, on one line, and never waits. That nobody can hear it is no reason to stop.
    pub fn say(&self, sentence: &str) {
        let line = format!("longhaul: {}\n", crate::model::visible(sentence, false));
        let _ = self.0.try_send(Said::Line(line));
    }

    /// Waits until everything that was said is written, for `patience` at most.
    pub async fn heard(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (sender, heard) = oneshot::channel();
        let mut question = Said::Heard(sender);
        while let Err(TrySendError::Full(back)) = self.0.try_send(question) {
            if Instant::now() >= deadline {
                return;
            }
            question = back;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = tokio::time::timeout_at(deadline, heard).await;
    }
}

fn write(mut to: impl Write, said: &Receiver<Said>) {
    for said in said {
        match said {
            Said::Line(line) => {
                let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
            }
            Said::Heard(sender) => {
                let _ = sender.send(());
            }
        }
    }
}

/// A span in words, exact to the second: `200 ms`, `1 second`, `90 seconds`, `2 minutes`, `3h 20m`.
pub fn span_text(span: Duration) -> String {
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match span.as_secs() {
        0 if span.subsec_millis() > 0 => format!("{} ms", span.subsec_millis()),
        seconds @ 0..120 => counted(seconds, "second"),
        seconds if seconds % 3600 == 0 => counted(seconds / 3600, "hour"),
        seconds if seconds % 60 == 0 && seconds < 3 * 3600 => counted(seconds / 60, "minute"),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A pipe that nobody reads.
    struct Blocked(std::sync::mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn spans_are_said_to_the_second() {
        for (milliseconds, text) in [
            (0, "0 seconds"),
            (200, "200 ms"),
            (1_000, "1 second"),
            (5_900, "5 seconds"),
            (119_000, "119 seconds"),
            (120_000, "2 minutes"),
            (150_000, "2m 30s"),
            (3_600_000, "1 hour"),
            (12_000_000, "3h 20m"),
        ] {
            assert_eq!(span_text(Duration::from_millis(milliseconds)), text);
        }
    }

    #[tokio::test]
    async fn speaking_does_not_wait_for_anybody_to_listen() {
        let (unblock, blocked) = std::sync::mpsc::channel();
        let notices = Notices::new(Blocked(blocked));
        for _ in 0..2 * MOST_WAITING {
            notices.say("a sentence");
        }
        notices.heard(Duration::from_millis(20)).await;
        drop(unblock);
        notices.heard(Duration::from_secs(15)).await;
    }
}
