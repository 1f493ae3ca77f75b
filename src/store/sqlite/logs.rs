//! Logs: pages of them, searches, counts.
//!
//! A page is read where it lies. A search for a text, or for a step, looks through the lines: two threads do
//! it where the log is long. Measured with a million lines that do not match, on two cores: 85 ms with one,
//! 46 ms with two; with a comparison of our own instead of SQLite's, 130 ms. Given up: an index over the text.
//! It would double the file, and cost every message more than recording it does.

use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::reader::{Conditions, Readers, contains};
use super::{entries, numbers, rows, unavailable};
use crate::model::{Event, Job, JobId, LineKind, LogFilter, LogLine, Refusal};
use crate::store::bounds::Until;
use crate::store::{
    ByteBudget, LOG_PAGE_BYTES, LogFrom, LogPage, LogQuery, MESSAGES, NEWEST_BYTES, Newest, StoreError,
    sent_bytes,
};

/// A log of more entries is searched by two threads.
const LONG: u64 = 100_000;
/// So much of it is looked through before.
const FIRST: u64 = 50_000;

/// The kinds that are wanted, each once.
fn kinds_of(filter: &LogFilter) -> Vec<LineKind> {
    let mut kinds = filter.wanted().to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn log_conditions(n: i64, filter: &LogFilter, kinds: &[LineKind]) -> Conditions {
    let mut where_ = Conditions { text: "job = ?".to_owned(), values: vec![Sql::from(n)] };
    // First, because it leaves the fewest: measured over a million lines, 104 ms instead of 137.
    if let Some(text) = &filter.text {
        let (contains, values) = contains("text", text);
        where_.and(&contains, values);
    }
    match kinds {
        // Said outright, so that the index over the few lines that are not infos can be used.
        [kind] if *kind != LineKind::Info => where_.and(&format!("kind = {} and kind <> 0", *kind as u8), []),
        kinds => {
            let numbers: Vec<String> = kinds.iter().map(|kind| (*kind as u8).to_string()).collect();
            where_.and(&format!("kind in ({})", numbers.join(", ")), []);
        }
    }
    if let Some(step) = &filter.step {
        let below = format!("{step}/");
        where_.and("(step = ? or instr(step, ?) = 1)", [step.clone(), below].map(Sql::from));
    }
    where_
}

/// The queries whose answers, merged, are the lines, and those whose sum counts them all. Infos are most of
/// a log and are read in its order; what leaves them out is found through an index, a kind at a time.
pub(super) fn queries(n: i64, query: &LogQuery) -> (Vec<Conditions>, Vec<Conditions>) {
    let place = match query.from {
        LogFrom::End => None,
        LogFrom::Before(seq) => Some(("seq < ?", seq)),
        LogFrom::After(seq) => Some(("seq > ?", seq)),
    };
    let wanted = kinds_of(&query.filter);
    let groups: Vec<&[LineKind]> =
        if wanted.contains(&LineKind::Info) { vec![&wanted] } else { wanted.chunks(1).collect() };
    let mut pages = Vec::new();
    let mut counts = Vec::new();
    for kinds in groups {
        let where_ = log_conditions(n, &query.filter, kinds);
        // The planner, who has no statistics, would read the whole log for its three errors.
        let table = if kinds.contains(&LineKind::Info) { "event" } else { "event indexed by event_kind" };
        let mut page = where_.clone();
        if let Some((condition, seq)) = place {
            page.and(condition, [Sql::from(i64::try_from(seq).unwrap_or(i64::MAX))]);
        }
        pages.push(page_query(table, page, query));
        counts.push(count_query(table, where_));
    }
    (pages, counts)
}

fn page_query(table: &str, where_: Conditions, query: &LogQuery) -> Conditions {
    let order = if forwards(query) { "asc" } else { "desc" };
    let text = format!(
        "select seq, at, kind, text, step from {table} where {} order by seq {order} limit {}",
        where_.text,
        query.limit + 1
    );
    Conditions { text, ..where_ }
}

fn count_query(table: &str, where_: Conditions) -> Conditions {
    Conditions { text: format!("select count(*) from {table} where {}", where_.text), ..where_ }
}

fn forwards(query: &LogQuery) -> bool {
    matches!(query.from, LogFrom::After(_))
}

/// Lines, and whether they end before they would have, because they are as many bytes as one answer carries.
struct Lines {
    lines: Vec<LogLine>,
    cut: bool,
}

fn fetch(db: &Connection, query: Conditions) -> Result<Lines, StoreError> {
    let mut find = db.prepare_cached(&query.text).map_err(unavailable)?;
    let found = find.query_map(params_from_iter(query.values), entries::line).map_err(unavailable)?;
    let (mut lines, mut room) = (Vec::new(), ByteBudget::new(LOG_PAGE_BYTES));
    for line in found {
        let line = line.map_err(unavailable)?;
        if !room.take(sent_bytes(&line.text)) {
            return Ok(Lines { lines, cut: true });
        }
        lines.push(line);
    }
    Ok(Lines { lines, cut: false })
}

/// Several runs of lines as one, in the order they are read: no farther than the shortest that was cut reaches, or
/// lines would be missing in between.
fn merged(runs: Vec<Lines>, forwards: bool) -> Lines {
    let place = |line: &LogLine| if forwards { line.seq } else { u64::MAX - line.seq };
    let reach = runs.iter().filter(|run| run.cut).filter_map(|run| run.lines.last().map(place)).min();
    let mut lines: Vec<LogLine> = runs.into_iter().flat_map(|run| run.lines).collect();
    lines.sort_unstable_by_key(place);
    let mut room = ByteBudget::new(LOG_PAGE_BYTES);
    let all = lines.len();
    let fit = lines
        .iter()
        .take_while(|line| {
            reach.is_none_or(|reach| place(line) <= reach) && room.take(sent_bytes(&line.text))
        })
        .count();
    lines.truncate(fit);
    Lines { lines, cut: reach.is_some() || fit < all }
}

fn count(db: &Connection, query: Conditions) -> Result<u64, StoreError> {
    db.prepare_cached(&query.text)
        .and_then(|mut find| find.query_row(params_from_iter(query.values), |row| row.get::<_, i64>(0)))
        .map(|count| count as u64)
        .map_err(unavailable)
}

/// A part of a log, from above its first number to its second.
type Span = (u64, u64);

/// How a search goes through a long log: where it begins, then the nearer and the farther half of the rest.
fn parts((low, high): Span, forwards: bool) -> [Span; 3] {
    if forwards {
        let begun = (low + FIRST).min(high);
        let middle = begun + (high - begun) / 2;
        [(low, begun), (begun, middle), (middle, high)]
    } else {
        let begun = high.saturating_sub(FIRST).max(low);
        let middle = low + (begun - low) / 2;
        [(begun, high), (middle, begun), (low, middle)]
    }
}

/// A search through a log that is long.
struct LongSearch<'a> {
    readers: &'a Readers,
    until: &'a Until,
    db: &'a Connection,
    n: i64,
    /// The last entry of the log.
    last: u64,
    query: &'a LogQuery,
}

impl LongSearch<'_> {
    fn within(&self, (low, high): Span) -> Conditions {
        let mut where_ = log_conditions(self.n, &self.query.filter, &kinds_of(&self.query.filter));
        where_.and("seq > ? and seq <= ?", [low, high].map(|seq| Sql::from(seq as i64)));
        where_
    }

    /// The lines next to where the search begins. What is common is found there; where it is not, two
    /// threads look through the rest.
    fn page(&self) -> Result<Vec<Lines>, StoreError> {
        let span = match self.query.from {
            LogFrom::End => (0, self.last),
            LogFrom::After(seq) => (seq.min(self.last), self.last),
            LogFrom::Before(seq) => (0, seq.saturating_sub(1).min(self.last)),
        };
        let query = |span| page_query("event", self.within(span), self.query);
        let [first, near, far] = parts(span, forwards(self.query));
        let first = fetch(self.db, query(first))?;
        if first.cut || first.lines.len() > self.query.limit {
            return Ok(vec![first]);
        }
        let (near, far) = self.both(fetch, query(near), query(far))?;
        Ok(vec![first, near, far])
    }

    /// How many lines match in all.
    fn count(&self) -> Result<u64, StoreError> {
        let middle = self.last / 2;
        let query = |span| count_query("event", self.within(span));
        let (near, far) = self.both(count, query((middle, self.last)), query((0, middle)))?;
        Ok(near + far)
    }

    /// Asks two things at once, the second on a connection of its own. It sees a later moment of the log,
    /// but not more of it: a log only grows, and both are told where to end.
    fn both<T: Send>(
        &self,
        ask: fn(&Connection, Conditions) -> Result<T, StoreError>,
        here: Conditions,
        there: Conditions,
    ) -> Result<(T, T), StoreError> {
        let (readers, until) = (self.readers, self.until);
        std::thread::scope(|scope| {
            let there = scope.spawn(move || readers.search(until, |db| ask(db, there)));
            let here = ask(self.db, here);
            let there = there
                .join()
                .unwrap_or_else(|_| Err(StoreError::Unavailable("a search did not finish".to_owned())));
            Ok((here?, there?))
        })
    }
}

pub(super) fn log(
    readers: &Readers,
    until: &Until,
    db: &Connection,
    id: JobId,
    query: &LogQuery,
) -> Result<LogPage, StoreError> {
    // One snapshot for the counters and the lines.
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let n = rows::number_of(&db, id).map_err(unavailable)?.ok_or(Refusal::NotFound { id })?;
    let long = long_search(readers, until, &db, n, query)?;
    let (pages, counts) = queries(n, query);
    let forwards = forwards(query);
    let runs = match &long {
        Some(search) => search.page()?,
        None => pages.into_iter().map(|page| fetch(&db, page)).collect::<Result<_, _>>()?,
    };
    let Lines { mut lines, cut } = merged(runs, forwards);
    let more = cut || lines.len() > query.limit;
    lines.truncate(query.limit);
    if !forwards {
        lines.reverse();
    }
    // Where the page is all there is, it has been counted.
    let whole = !more && matches!(query.from, LogFrom::End | LogFrom::After(0));
    let total = match (query.count, query.filter.needs_scan()) {
        (false, _) => None,
        (true, true) if whole => Some(lines.len() as u64),
        (true, true) => {
            let total = match &long {
                Some(search) => search.count()?,
                None => counts.into_iter().map(|query| count(&db, query)).sum::<Result<u64, _>>()?,
            };
            Some(total)
        }
        (true, false) => {
            let counts = db
                .prepare_cached("select numbers from job where n = ?1")
                .and_then(|mut find| {
                    find.query_row([n], |row| Ok(numbers::counts(row.get_ref(0)?.as_blob()?)))
                })
                .map_err(unavailable)?;
            Some(kinds_of(&query.filter).iter().map(|kind| counts.of(*kind)).sum())
        }
    };
    Ok(LogPage { lines, total, more })
}

/// The newest messages of some jobs, all from one snapshot and on one thread: a list of fifty jobs asks for a
/// hundred and fifty parts of logs.
pub(super) fn newest_messages(
    db: &Connection,
    jobs: &[Arc<Job>],
    most: usize,
) -> Result<Vec<Newest>, StoreError> {
    let db = db.unchecked_transaction().map_err(unavailable)?;
    let mut room = ByteBudget::new(NEWEST_BYTES);
    let newest = |job: &Arc<Job>| {
        let mut newest = Newest::default();
        let Some(n) = rows::number_of(&db, job.id).map_err(unavailable)? else { return Ok(newest) };
        // Errors first: where not all fit, they are what is looked for.
        for (kind, lines) in MESSAGES.into_iter().zip(&mut newest).rev() {
            if job.counts.of(kind) == 0 || most == 0 {
                continue;
            }
            let filter = LogFilter { kinds: vec![kind], ..LogFilter::default() };
            let query = LogQuery { filter, from: LogFrom::End, limit: most, count: false };
            for page in queries(n, &query).0 {
                let mut find = db.prepare_cached(&page.text).map_err(unavailable)?;
                let found =
                    find.query_map(params_from_iter(page.values), entries::line).map_err(unavailable)?;
                for line in found {
                    if room.is_full() || lines.len() == most {
                        break;
                    }
                    let line = line.map_err(unavailable)?;
                    room.take(sent_bytes(&line.text));
                    lines.push(line);
                }
            }
            lines.reverse();
        }
        Ok(newest)
    };
    jobs.iter().map(newest).collect()
}

/// The search, where it has to go through the lines of a log that is long.
fn long_search<'a>(
    readers: &'a Readers,
    until: &'a Until,
    db: &'a Connection,
    n: i64,
    query: &'a LogQuery,
) -> Result<Option<LongSearch<'a>>, StoreError> {
    // What leaves infos out has few lines to look through.
    if !query.filter.needs_scan() || !query.filter.wanted().contains(&LineKind::Info) {
        return Ok(None);
    }
    let last: Option<i64> = db
        .prepare_cached(LAST)
        .and_then(|mut find| find.query_row([n], |row| row.get(0)))
        .map_err(unavailable)?;
    let last = last.unwrap_or(0) as u64;
    Ok((last > LONG).then_some(LongSearch { readers, until, db, n, last, query }))
}

pub(super) const LAST: &str = "select max(seq) from event where job = ?1";

pub(super) fn events(db: &Connection, id: JobId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let n = rows::number_of(db, id).map_err(unavailable)?.ok_or(Refusal::NotFound { id })?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    db.prepare_cached(
        "select seq, at, kind, text, step, data from event where job = ?1 and seq > ?2 order by seq limit ?3",
    )
    .and_then(|mut find| find.query_map([n, after, limit as i64], entries::event)?.collect())
    .map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Jobs;
    use crate::model::Limits;
    use crate::store::{JobStore, SqliteStore};

    #[test]
    fn the_parts_of_a_search_meet_and_leave_nothing_out() {
        for span in [(0, 0), (0, 1), (0, 50_000), (0, 50_001), (7, 1_000_000), (1_000_000, 1_000_000)] {
            for forwards in [true, false] {
                let mut parts = parts(span, forwards);
                parts.sort_unstable();
                assert!(parts.iter().all(|(low, high)| low <= high), "{parts:?}");
                assert_eq!((parts[0].0, parts[2].1), span);
                assert_eq!((parts[0].1, parts[1].1), (parts[1].0, parts[2].0), "{parts:?}");
            }
        }
    }

    /// A log long enough for two threads, with matches where their parts meet.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_log_is_searched_as_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).unwrap());
        let jobs = Jobs::new(Arc::clone(&store) as Arc<dyn JobStore>).with_limits(Limits::DURABLE);
        let id = jobs.create_job("import", "anna").await.unwrap();
        let logger = crate::JobLogger::new(jobs.store(), id);
        for line in 2..=120_000 {
            // Line and place in the log are the same number.
            logger.info(format!("line {line} {}", if line % 7_000 == 0 { "NEEDLE" } else { "hay" }));
        }
        logger.flush().await.unwrap();
        let every: Vec<u64> = (1..=17).map(|place| place * 7_000).collect();
        let search = |from, limit| LogQuery {
            filter: LogFilter { text: Some("needle".to_owned()), ..LogFilter::default() },
            from,
            limit,
            count: true,
        };
        for (from, limit, expected) in [
            (LogFrom::End, 100, &every[..]),
            (LogFrom::End, 3, &every[14..]),
            (LogFrom::End, 12, &every[5..]),
            (LogFrom::Before(119_000), 4, &every[12..16]),
            (LogFrom::Before(63_000), 100, &every[..8]),
            (LogFrom::After(0), 2, &every[..2]),
            (LogFrom::After(0), 100, &every[..]),
            (LogFrom::After(7_000), 15, &every[1..16]),
            (LogFrom::After(118_999), 5, &every[16..]),
            (LogFrom::After(500_000), 5, &[]),
        ] {
            let page = store.log(id, search(from, limit)).await.unwrap();
            let seqs: Vec<u64> = page.lines.iter().map(|line| line.seq).collect();
            assert_eq!((seqs.as_slice(), page.total), (expected, Some(17)), "{from:?}, {limit}");
            let more = match from {
                LogFrom::After(_) => expected.last().is_some_and(|last| *last < 119_000),
                _ => expected[0] > 7_000,
            };
            assert_eq!(page.more, more, "{from:?}, {limit}");
        }
    }
}
