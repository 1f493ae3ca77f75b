//! Opening a database file: is it ours, is it free, is it of a version we know?

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use refinery::Runner;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use super::database_file::{Claim, DatabaseFile};

mod embedded {
    refinery::embed_migrations!("src/store/migrations/sqlite");
}

/// Marks a file as Longhaul's: "LHJB". SQLite's `file` magic shows it too.
const APPLICATION_ID: i64 = 0x4c48_4a42;

/// Why a database file could not be opened. The file is as it was.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer Longhaul wrote it.
    #[error(
        "{path} was written by a newer version of Longhaul (schema {found}, this version knows up to {known}). \
         Start that version, or restore a backup from before the upgrade. The file was not touched."
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its schema's version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// An older Longhaul wrote it, and it may only be looked at.
    #[error(
        "{path} was written by an older version of Longhaul (schema {found}, this version has {known}). Start the \
         server once to bring it up to date."
    )]
    TooOld {
        /// The file.
        path: String,
        /// Its schema's version.
        found: u32,
        /// The one this program has.
        known: u32,
    },
    /// It is not a Longhaul database.
    #[error(
        "{path} is not a Longhaul database: {problem}. Choose another file with --database. The file was not touched."
    )]
    NotOurs {
        /// The file.
        path: String,
        /// What it is instead.
        problem: String,
    },
    /// Another server has it open.
    #[error(
        "{path} is in use by another Longhaul server. Stop that one first, or choose another file with --database."
    )]
    InUse {
        /// The file.
        path: String,
    },
    /// The system does not let us.
    #[error("{path} cannot be opened: {problem}")]
    Unusable {
        /// The file.
        path: String,
        /// What the system says.
        problem: String,
    },
}

/// An open file: one connection for jobs, one for accounts, and the lock that keeps other servers away.
pub(super) struct Opened {
    pub writer: Connection,
    pub accounts: Connection,
    pub lock: Lock,
    pub claim: Claim,
}

/// Keeps other servers away from a file. Let go of outright: a process that was just forked, and has not
/// closed what it inherited, would hold on to it.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    open_with(path, &embedded::migrations::runner())
}

/// The same, with these migrations instead of the release's own.
pub(super) fn open_with(path: &Path, migrations: &Runner) -> Result<Opened, OpenError> {
    let unusable = |problem: String| OpenError::Unusable { path: path.display().to_string(), problem };
    // Before anything is made beside it, and again when nobody else can be at it. A file that a server has open by
    // another name is not even looked at: the look would make a log of its own beside it.
    let in_use = || OpenError::InUse { path: path.display().to_string() };
    let claim = |path: &Path| DatabaseFile::claim(path).map_err(|error| unusable(error.to_string()));
    let claimed = match path.exists() {
        true => Some(Claim(claim(path)?.ok_or_else(in_use)?)),
        false => None,
    };
    check_version(path, migrations)?;
    let lock = lock(path)?;
    check_version(path, migrations)?;
    let claim = match claimed {
        Some(claimed) => claimed,
        None => {
            make_private(path);
            Claim(claim(path)?.ok_or_else(in_use)?)
        }
    };
    let writer = prepare_with(path, migrations)?;
    let accounts = connect(path).map_err(|error| unusable(error.to_string()))?;
    Ok(Opened { writer, accounts, lock, claim })
}

/// Brings a file to this version's schema, and makes it where it is missing.
pub(super) fn prepare(path: &Path) -> Result<Connection, OpenError> {
    prepare_with(path, &embedded::migrations::runner())
}

/// Makes a database's file where there is none, for its owner's eyes alone: it holds what jobs work on, and
/// hashes of passwords. SQLite gives the files beside it the same mode.
pub(super) fn make_private(path: &Path) {
    // Where that cannot be done, SQLite says why.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(resolved(path));
}

fn prepare_with(path: &Path, migrations: &Runner) -> Result<Connection, OpenError> {
    make_private(path);
    let unusable = |problem: String| OpenError::Unusable { path: path.display().to_string(), problem };
    let mut db = connect(path).map_err(|error| unusable(error.to_string()))?;
    migrate(&mut db, migrations).map_err(unusable)?;
    Ok(db)
}

/// Brings the schema up to date, in one transaction with the notes of what was done: an upgrade that is cut
/// short was never there, and the next opening does it. (Left to itself, refinery commits a migration and
/// its note one after the other. A kill between the two leaves a file that no version opens again: what is
/// there already cannot be made.)
fn migrate(db: &mut Connection, migrations: &Runner) -> Result<(), String> {
    db.pragma_update(None, "application_id", APPLICATION_ID).map_err(|error| error.to_string())?;
    let whole = Runner::new(migrations.get_migrations()).set_grouped(true);
    whole.run(db).map(drop).map_err(|error| error.to_string())
}

/// A connection that only reads, to a file that a server may have open. The file must be of this version.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let (found, known) = look_at(path)?;
    if found < known {
        return Err(OpenError::TooOld { path: path.display().to_string(), found, known });
    }
    read_only(path)
}

/// Looks whether a file is a Longhaul database this program can read. Answers its schema's version and
/// this program's.
pub(super) fn look_at(path: &Path) -> Result<(u32, u32), OpenError> {
    check_version(path, &embedded::migrations::runner())
}

/// A connection that only reads.
pub(super) fn read_only(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|db| {
            db.busy_timeout(Duration::from_secs(10))?;
            db.set_prepared_statement_cache_capacity(64);
            Ok(db)
        })
        .map_err(|error| OpenError::Unusable { path: path.display().to_string(), problem: error.to_string() })
}

/// A connection that writes, set up as the promise of durability needs it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    set_up(Connection::open(path)?)
}

/// The same, to a file that must be there: a database that vanished under a server is not begun anew.
pub(super) fn reconnect(path: &Path) -> rusqlite::Result<Connection> {
    set_up(Connection::open_with_flags(path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE)?)
}

fn set_up(db: Connection) -> rusqlite::Result<Connection> {
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // FULL: a commit is on the disk before it is acknowledged. NORMAL would lose the last ones in a
    // power cut.
    db.pragma_update(None, "synchronous", "full")?;
    // Eight megabytes. The operating system keeps more; and SQLite walks through all of its own with every
    // commit that moved pages about.
    db.pragma_update(None, "cache_size", -8_000)?;
    // While a backup is read the log can only grow. Begun anew, it gives back what is over this: twice what
    // it has at most otherwise.
    db.pragma_update(None, "journal_size_limit", 128 << 20)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Opens the accounts of a database file that a server may have open. For the command line.
pub(super) fn open_accounts(path: &Path) -> Result<Connection, OpenError> {
    let (found, known) = look_at(path)?;
    // An upgrade would take the tables away under an older server that has the file open.
    let _alone = if found < known { Some(lock(path)?) } else { None };
    prepare(path)
}

/// Looks at an existing file through a connection that cannot write. Answers its schema's version, 0 where
/// there is nothing yet, and this program's.
///
/// Nothing but SQLite may open the file: when any handle on it is closed, the system lets go of all locks
/// this process has on it, and so of those of a store that is open.
fn check_version(path: &Path, migrations: &Runner) -> Result<(u32, u32), OpenError> {
    let known = migrations
        .get_migrations()
        .iter()
        .map(|migration| u32::try_from(migration.version()).unwrap_or(0))
        .max()
        .unwrap_or(0);
    if !path.exists() {
        return Ok((0, known));
    }
    let name = path.display().to_string();
    let unusable =
        |problem: rusqlite::Error| OpenError::Unusable { path: name.clone(), problem: problem.to_string() };
    let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(unusable)?;
    let count = |db: &Connection| db.query_row("select count(*) from sqlite_schema", [], |row| row.get(0));
    let tables: i64 = match count(&db) {
        // Whoever wrote last died in it, and what it left half done must be taken back before anybody can
        // read: only a connection that may write can do that. It changes nothing that was committed.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            db = Connection::open_with_flags(path, flags).map_err(unusable)?;
            count(&db)
        }
        counted => counted,
    }
    .map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            OpenError::NotOurs { path: name.clone(), problem: "it is not an SQLite file".to_owned() }
        }
        _ => unusable(error),
    })?;
    if tables == 0 {
        return Ok((0, known));
    }
    let application: i64 =
        db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unusable)?;
    if application != APPLICATION_ID {
        return Err(OpenError::NotOurs {
            path: name,
            problem: "it holds another program's tables".to_owned(),
        });
    }
    let found: u32 = db
        .query_row("select coalesce(max(version), 0) from refinery_schema_history", [], |row| row.get(0))
        .map_err(unusable)?;
    if found > known {
        return Err(OpenError::TooNew { path: name, found, known });
    }
    Ok((found, known))
}

/// The file that is meant, by whatever name it goes: SQLite follows links, so the lock must too.
fn resolved(path: &Path) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (path.canonicalize(), std::fs::read_link(&path)) {
            (Ok(there), _) => return there,
            // A link to a file that is yet to be made.
            (Err(_), Ok(target)) => path = folder.join(target),
            (Err(_), Err(_)) => {
                return match (folder.canonicalize(), path.file_name()) {
                    (Ok(folder), Some(name)) => folder.join(name),
                    _ => path,
                };
            }
        }
    }
    path
}

/// Takes the lock that keeps other servers away from a file, which need not be there yet.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let mut lock_path = resolved(path).into_os_string();
    lock_path.push("-lock");
    let lock_path = PathBuf::from(lock_path);
    let unusable = |problem: std::io::Error| OpenError::Unusable {
        path: lock_path.display().to_string(),
        problem: problem.to_string(),
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(unusable)?;
    // Also one that an older version made; it may be somebody else's, and then it stays as it is.
    let _ = file.set_permissions(Permissions::from_mode(0o600));
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_a_newer_version_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let opened = open(&path).unwrap();
        opened
            .writer
            .execute(
                "insert into refinery_schema_history (version, name, applied_on, checksum) values (9999, 'x', '', '0')",
                [],
            )
            .unwrap();
        drop(opened);
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(open(&path), Err(OpenError::TooNew { found: 9999, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_of_another_program_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "remember the milk, and the bread").unwrap();
        assert!(matches!(open(&text), Err(OpenError::NotOurs { .. })));
        assert_eq!(std::fs::read_to_string(&text).unwrap(), "remember the milk, and the bread");
        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("create table t (x)").unwrap();
        let before = std::fs::read(&other).unwrap();
        assert!(matches!(open(&other), Err(OpenError::NotOurs { .. })));
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }

    #[test]
    fn a_file_whose_writer_died_in_its_first_write_is_opened() {
        // Before the file is in WAL mode a writer keeps the old pages in a journal beside it. Killed then,
        // it leaves both, and only a connection that may write can put the pages back.
        let folder = tempfile::tempdir().unwrap();
        let (path, left) = (folder.path().join("first.db"), folder.path().join("jobs.db"));
        let journal = |path: &Path| PathBuf::from(format!("{}-journal", path.display()));
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("create table t (x); drop table t; pragma cache_size = 1; begin").unwrap();
        // More than the cache holds, so that pages are written, and the journal synced, before the commit.
        writer
            .execute_batch(
                "create table u (x); \
                 with recursive n (i) as (select 1 union all select i + 1 from n where i < 200) \
                 insert into u select randomblob(4000) from n",
            )
            .unwrap();
        std::fs::copy(&path, &left).unwrap();
        std::fs::copy(journal(&path), journal(&left)).unwrap();
        drop(writer);
        let alone = Connection::open_with_flags(&left, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let read = alone.query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0));
        assert!(read.is_err(), "nothing was left half done: the test would prove nothing");
        drop(alone);
        assert!(open(&left).is_ok());
    }

    #[test]
    fn a_second_server_on_the_same_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(OpenError::InUse { .. })));
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn a_second_server_is_refused_by_whatever_name_it_calls_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("jobs.db"), folder.path().join("current.db"));
        std::os::unix::fs::symlink("jobs.db", &link).unwrap();
        let first = open(&link).unwrap();
        assert!(path.exists(), "it is made where the link points");
        for name in [&path, &link, &folder.path().join(".").join("jobs.db")] {
            assert!(matches!(open(name), Err(OpenError::InUse { .. })), "{}", name.display());
        }
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[tokio::test]
    async fn a_database_and_its_backup_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        use crate::store::{JobStore, SqliteStore};
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jobs.db")).unwrap();
        store.probe().await.unwrap();
        store.backup(&folder.path().join("copy.db"), Box::new(|_, _| true)).await.unwrap();
        for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm", "copy.db"] {
            let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    /// When a process closes a file, the system drops all locks it has on it. So a look at the file of a store
    /// that is open in the same process could take the store's locks away, and another process's closing
    /// would remove the log under it.
    #[test]
    fn a_look_at_a_file_that_is_open_leaves_its_locks_alone() {
        let locks = |path: &Path| {
            use std::os::unix::fs::MetadataExt;
            let inode = format!(":{} ", path.metadata().unwrap().ino());
            let all = std::fs::read_to_string("/proc/locks").unwrap();
            all.lines().filter(|line| line.contains(" POSIX ") && line.contains(&inode)).count()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let _opened = open(&path).unwrap();
        let before = locks(&path);
        assert!(before > 0, "the test would prove nothing");
        drop(open_read_only(&path).unwrap());
        assert!(matches!(open(&path), Err(OpenError::InUse { .. })));
        assert_eq!(locks(&path), before);
        drop(File::open(&path).unwrap());
        assert_eq!(locks(&path), 0, "this is what must not happen");
    }
}
