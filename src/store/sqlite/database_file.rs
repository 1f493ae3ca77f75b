//! The file that is open, and whether its name still leads to it.
//!
//! What is open stays open when its name is taken away, or given to another file: a server would go on, acknowledge
//! what it writes, and lose all of it when it stops. So whoever is about to write, or to open the file once more, looks
//! whether the name leads to what is open, the log beside it too.
//!
//! One file can go by several names (hard links, a file mounted twice), with a lock file beside each. So the file
//! itself is locked as well: one byte, far from those that SQLite locks, and by a lock that belongs to the open file.
//! Closing any handle on a database lets go of the locks this process has on it, SQLite's among them; so the handle
//! is kept as long as there are connections, and a file that this process has open already is not opened to find out.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Which file it is: the device it is on, and its number there.
type Id = (u64, u64);

/// SQLite's locks are on the 512 bytes from 2^30 on.
const LOCKED_BYTE: libc::off_t = (1 << 30) + 4_096;

/// The files that stores of this process have open.
static OPEN_HERE: Mutex<BTreeSet<Id>> = Mutex::new(BTreeSet::new());

fn open_here() -> MutexGuard<'static, BTreeSet<Id>> {
    OPEN_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(found: &Metadata) -> Id {
    (found.dev(), found.ino())
}

/// A file that is open, and the name it goes by.
pub(super) struct DatabaseFile {
    path: PathBuf,
    wal: PathBuf,
    id: Id,
    /// The log beside it, once it is there: it stays as long as anybody has the database open.
    wal_id: Mutex<Option<Id>>,
    /// `None` where it may not be written: SQLite says so.
    file: Option<File>,
    held: AtomicBool,
}

impl DatabaseFile {
    /// Claims a file that is there. `None` where somebody has it open, by whatever name.
    pub(super) fn claim(path: &Path) -> std::io::Result<Option<Arc<Self>>> {
        let id = id(&std::fs::metadata(path)?);
        if !open_here().insert(id) {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(true).open(path).ok();
        if let Some(file) = &file
            && fcntl(file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_WRLCK))) == Err(Errno::EAGAIN)
        {
            open_here().remove(&id);
            return Ok(None);
        }
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let (path, wal) = (path.to_owned(), PathBuf::from(wal));
        Ok(Some(Arc::new(Self {
            path,
            wal,
            id,
            wal_id: Mutex::default(),
            file,
            held: AtomicBool::new(true),
        })))
    }

    /// Lets another have it.
    fn let_go(&self) {
        if !self.held.swap(false, Ordering::SeqCst) {
            return;
        }
        if let Some(file) = &self.file {
            let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_UNLCK)));
        }
        open_here().remove(&self.id);
    }

    /// Why nothing may be written, where the name leads elsewhere by now.
    pub(super) fn lost(&self) -> Option<String> {
        let problem = match std::fs::metadata(&self.path) {
            Ok(found) if id(&found) == self.id => return self.lost_log(),
            Ok(_) => "another file was put in the place of",
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                "somebody removed or renamed"
            }
            // It cannot be looked at; whether it can be written SQLite finds out.
            Err(_) => return None,
        };
        Some(format!(
            "{problem} {} while the server has it open, and what is written now would be lost with its end. Put the \
             file back, or restore a backup, and start the server again",
            self.path.display()
        ))
    }

    fn lost_log(&self) -> Option<String> {
        let mut known = self.wal_id.lock().unwrap_or_else(PoisonError::into_inner);
        let found = std::fs::metadata(&self.wal).map(|found| id(&found));
        match (*known, found) {
            (Some(known), Ok(found)) if known == found => None,
            (Some(_), Ok(_)) => Some(self.without_log("another file was put in the place of")),
            (Some(_), Err(error)) if error.kind() == ErrorKind::NotFound => {
                Some(self.without_log("somebody removed or renamed"))
            }
            (None, Ok(found)) => {
                *known = Some(found);
                None
            }
            (_, Err(_)) => None,
        }
    }

    fn without_log(&self, problem: &str) -> String {
        format!(
            "{problem} {} while the server has it open; it belongs to the database. Put it back, or stop the server, \
             which moves what is in it to the database",
            self.wal.display()
        )
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Claims a file until it is dropped; [`DatabaseFile`] may be looked at for longer.
pub(super) struct Claim(pub(super) Arc<DatabaseFile>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "constants of the system, of the types it wants")]
fn lock_of(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCKED_BYTE,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::library::Jobs;
    use crate::model::{Limits, Role, Timestamp};
    use crate::store::{
        AccountChange, AccountStore, By, Grounds, LinkRecord, OpenError, SessionRecord, SqliteStore,
        StoreError, TokenRecord, UserRecord,
    };

    use super::*;

    fn beside(path: &Path, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", path.display()))
    }

    async fn starts(jobs: &Jobs) -> Result<(), StoreError> {
        jobs.create_job("import", "anna").await.map(drop)
    }

    fn jobs_in(path: &Path) -> Jobs {
        Jobs::new(Arc::new(SqliteStore::open(path).unwrap())).with_limits(Limits::DURABLE)
    }

    /// The store says it without having been asked to write, and writes nothing from then on.
    async fn is_lost(jobs: &Jobs, what: &str) {
        let said = jobs.store().last_failure().unwrap_or_default();
        assert!(said.contains(what), "{said}");
        for _ in 0..2 {
            assert!(matches!(starts(jobs).await, Err(StoreError::Unavailable(said)) if said.contains(what)));
            assert!(jobs.store().probe().await.is_err());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_acknowledged_into_a_file_that_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let jobs = jobs_in(&path);
        starts(&jobs).await.unwrap();
        assert_eq!(jobs.store().last_failure(), None);
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(beside(&path, suffix)).unwrap();
        }
        is_lost(&jobs, "removed or renamed").await;
        assert!(!path.exists(), "and none is begun in its place");
    }

    /// A session, a password, a link: who has it believes that it stands.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nor_are_accounts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let store = SqliteStore::open(&path).unwrap();
        let add = |name: &str| AccountChange::AddUser(UserRecord::new(name, Role::Viewer, Timestamp(1)));
        store.change(add("anna"), By::Owner).await.unwrap();
        let anna = store.user("anna").await.unwrap().unwrap();
        let session = |hash| SessionRecord {
            hash: [hash; 32],
            account: anna.id,
            password_number: 0,
            created_at: Timestamp(1),
            expires_at: Timestamp(9),
            address: String::new(),
            agent: String::new(),
        };
        assert!(store.add_session(session(1)).await.unwrap());
        let away = folder.path().join("away");
        std::fs::rename(&path, &away).unwrap();
        {
            let link = LinkRecord { hash: [4; 32], account: anna.id, expires_at: Timestamp(9) };
            let token = TokenRecord {
                name: "ci".to_owned(),
                hash: [2; 32],
                role: Role::Viewer,
                act_as: false,
                created_at: Timestamp(1),
                expires_at: None,
            };
            for change in [
                add("maria"),
                AccountChange::AddToken(token),
                AccountChange::PutLink(link),
                AccountChange::SetRole { account: anna.id, role: Role::Admin },
                AccountChange::RemoveUser { account: anna.id },
            ] {
                let refused = store.change(change, By::Owner).await.unwrap_err();
                assert!(format!("{refused:?}").contains("removed or renamed"), "{refused:?}");
            }
            let set = store.set_password("x".to_owned(), Grounds::Owner { account: anna.id }).await.map(drop);
            let refused = [
                set,
                store.add_session(session(3)).await.map(drop),
                store.forget_sessions(Timestamp(99)).await,
                store.remove_session(&[1; 32]).await,
                store.put_device([5; 32], anna.id, Timestamp(1)).await,
            ];
            for refused in refused {
                assert!(matches!(refused, Err(StoreError::Unavailable(said)) if said.contains("renamed")));
            }
        }
        // The file is back, and nothing of it was done.
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(store.session(&[1; 32]).await.unwrap(), Some((session(1), anna.clone())));
        assert_eq!(store.users().await.unwrap(), [anna]);
        store.change(add("maria"), By::Owner).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn another_file_in_its_place_is_neither_written_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("l.db"), folder.path().join("backup"));
        let jobs = jobs_in(&path);
        starts(&jobs).await.unwrap();
        jobs.store().backup(&other, Box::new(|_, _| true)).await.unwrap();
        starts(&jobs).await.unwrap();
        let before = std::fs::read(&other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        is_lost(&jobs, "another file was put in the place of").await;
        // Open jobs are in memory; whatever else is read comes from the file that is open, or not at all.
        for _ in 0..20 {
            if let Ok(all) = jobs.store().jobs_by_id(None, 9).await {
                assert_eq!(all.len(), 2);
            }
        }
        jobs.store().close().await;
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_that_is_put_back_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("l.db"), folder.path().join("away"));
        std::fs::create_dir(&away).unwrap();
        let jobs = jobs_in(&path);
        starts(&jobs).await.unwrap();
        let moved = |from: &Path, to: &Path| {
            for suffix in ["", "-wal", "-shm"] {
                std::fs::rename(beside(&from.join("l.db"), suffix), beside(&to.join("l.db"), suffix))
                    .unwrap();
            }
        };
        moved(folder.path(), &away);
        is_lost(&jobs, "removed or renamed").await;
        moved(&away, folder.path());
        jobs.store().probe().await.unwrap();
        assert_eq!(jobs.store().last_failure(), None);
        starts(&jobs).await.unwrap();
        jobs.store().close().await;
        drop(jobs);
        assert_eq!(jobs_in(&path).get_all_jobs().await.unwrap().len(), 2);
    }

    /// The log holds what was acknowledged last.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_that_was_removed_is_noticed_and_what_it_had_is_kept_by_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let jobs = jobs_in(&path);
        starts(&jobs).await.unwrap();
        std::fs::remove_file(beside(&path, "-wal")).unwrap();
        is_lost(&jobs, "l.db-wal").await;
        jobs.store().close().await;
        drop(jobs);
        assert_eq!(jobs_in(&path).get_all_jobs().await.unwrap().len(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_link_that_leads_elsewhere_by_now_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, link] = ["first.db", "second.db", "link.db"].map(|name| folder.path().join(name));
        jobs_in(&second).store().close().await;
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let jobs = jobs_in(&link);
        starts(&jobs).await.unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&second, &link).unwrap();
        is_lost(&jobs, "another file was put in the place of").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_under_two_names_is_used_by_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("l.db"), folder.path().join("other.db"));
        let jobs = jobs_in(&path);
        starts(&jobs).await.unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        assert!(matches!(SqliteStore::open(&other), Err(OpenError::InUse { .. })));
        assert!(!beside(&other, "-wal").exists(), "nothing was made beside it");
        starts(&jobs).await.unwrap();
        jobs.store().close().await;
        // With the end of the first it is free, by either name.
        drop(jobs);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(jobs_in(&other).get_all_jobs().await.unwrap().len(), 2);
    }

    /// What another process holds, whose locks this one's registry does not have.
    #[test]
    fn a_file_that_another_handle_holds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.db");
        let file = File::create(&path).unwrap();
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_WRLCK))).unwrap();
        assert!(DatabaseFile::claim(&path).unwrap().is_none());
        drop(file);
        let claim = Claim(DatabaseFile::claim(&path).unwrap().unwrap());
        assert!(DatabaseFile::claim(&path).unwrap().is_none());
        drop(claim);
        assert!(DatabaseFile::claim(&path).unwrap().is_some());
    }
}
