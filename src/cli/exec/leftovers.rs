//! The spools that earlier runs left because the server was away to their end.
//!
//! Any later run takes them up, and so does `--drain-spool`. Each spool is locked by whoever is at it, so
//! that two processes never deliver the same one at the same time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Refused;
use super::backlog::Backlog;
use super::notices::Notices;
use super::record::Record;
use super::reporter::{Delivery, Fate, Pace};
use super::spool;
use crate::cli::client::Client;

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Runs whose reports the server now has.
    pub delivered: usize,
    /// Runs whose reports it will not take.
    pub refused: usize,
    /// Runs whose reports it does not take for now, though it takes those of others; and its words.
    pub held: Vec<(PathBuf, String)>,
    /// Runs another process is at: most likely they still run.
    pub busy: usize,
    /// Runs that belong to another server.
    pub elsewhere: usize,
    /// Spools that cannot be read.
    pub unreadable: usize,
    /// What the server does instead of taking reports, where it takes none. Nothing after that was tried.
    pub away: Option<String>,
}

/// Delivers every spool in `folder` that is meant for `client`'s server, oldest first.
///
/// # Errors
/// Where the folder cannot be read.
pub async fn deliver(folder: &Path, client: &Client, notices: &Notices, pace: Pace) -> io::Result<Swept> {
    let mut swept = Swept::default();
    for path in spool::runs(folder)? {
        let (start, backlog) = match Backlog::of_file(&path) {
            Ok(Some(found)) => found,
            Ok(None) => {
                swept.busy += 1;
                continue;
            }
            Err(error) => {
                swept.unreadable += 1;
                notices.say(&format!("{} cannot be read: {error}", path.display()));
                continue;
            }
        };
        if start.server != client.server() {
            swept.elsewhere += 1;
            continue;
        }
        let delivery = Delivery::new(client.clone(), start, backlog, notices.clone(), pace).once();
        match delivery.run().await {
            Fate::Delivered => swept.delivered += 1,
            Fate::Over(_) | Fate::Unheard | Fate::Refused(_) => swept.refused += 1,
            Fate::Held(why) => swept.held.push((path, why)),
            Fate::Unreadable(error) => {
                swept.unreadable += 1;
                notices.say(&format!("{} cannot be read: {error}", path.display()));
            }
            Fate::Away(why) => {
                swept.away = Some(why);
                break;
            }
        }
    }
    Ok(swept)
}

/// The spools in `folder` that a server did not take.
///
/// # Errors
/// Where the folder cannot be read.
pub fn refused(folder: &Path) -> io::Result<Vec<PathBuf>> {
    spool::with_ending(folder, spool::REFUSED)
}

/// Makes new runs of what the server at `server` did not take, or throws that away. Returns how many there were.
///
/// # Errors
/// Where the folder cannot be read or written.
pub fn settle_refused(folder: &Path, server: &str, what: Refused) -> io::Result<usize> {
    let mut count = 0;
    for path in refused(folder)? {
        let mut reports = BufReader::new(File::open(&path)?);
        let mut first = Vec::new();
        reports.read_until(b'\n', &mut first)?;
        let mut start = match serde_json::from_slice(&first) {
            Ok(Record::Start(start)) if start.server == server => start,
            _ => continue,
        };
        if what == Refused::Take {
            // Under a key of its own the server makes a job of it.
            start.key = Uuid::now_v7();
            let taken = folder.join(format!("{}.{}", start.key, spool::ENDING));
            let hidden = taken.with_extension("new");
            let file = File::options().write(true).create_new(true).mode(0o600).open(&hidden)?;
            let mut file = BufWriter::new(file);
            serde_json::to_writer(&mut file, &Record::Start(start)).map_err(io::Error::from)?;
            file.write_all(b"\n")?;
            io::copy(&mut reports, &mut file)?;
            file.flush()?;
            std::fs::rename(&hidden, &taken)?;
        }
        std::fs::remove_file(&path)?;
        count += 1;
    }
    Ok(count)
}
