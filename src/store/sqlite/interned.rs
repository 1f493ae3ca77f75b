//! What many jobs share, stored once: features, authors and such by number, and whole specifications.
//!
//! A history of millions has some dozen features and some hundred people. The writer remembers the numbers
//! it has seen; a reader looks up those it meets. Given up: removing what no job uses any more.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Spec;
use crate::store::record::{execution_number, span_ms};

/// What of a specification is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SharedSpec {
    pub feature: String,
    pub author: String,
    pub owner: String,
    pub queue: String,
    pub execution: i64,
    pub max_attempts: u32,
    pub priority: i32,
    /// Milliseconds; -1 for none.
    pub run_timeout: i64,
    /// Milliseconds; -1 for none.
    pub activity_timeout: i64,
    pub max_lines: u32,
}

impl From<&Spec> for SharedSpec {
    fn from(spec: &Spec) -> Self {
        Self {
            feature: spec.feature.as_str().to_owned(),
            author: spec.author.as_str().to_owned(),
            owner: spec.owner.clone(),
            queue: spec.queue.clone(),
            execution: execution_number(spec.execution),
            max_attempts: spec.max_attempts,
            priority: spec.priority,
            run_timeout: span_ms(spec.timeouts.run),
            activity_timeout: span_ms(spec.timeouts.activity),
            max_lines: spec.max_lines,
        }
    }
}

/// A specification's number, and those a list is filtered by.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpecNumbers {
    pub spec: i64,
    pub feature: i64,
    pub author: i64,
}

/// What the writer remembers. Must be forgotten when a transaction is rolled back.
#[derive(Default)]
pub(super) struct Interned {
    names: HashMap<String, i64>,
    specs: HashMap<SharedSpec, SpecNumbers>,
}

/// More than this are looked up again.
const REMEMBERED: usize = 20_000;

impl Interned {
    /// The numbers of a specification, which is stored where it is new.
    pub(super) fn spec(&mut self, db: &Connection, spec: &Spec) -> rusqlite::Result<SpecNumbers> {
        let shared = SharedSpec::from(spec);
        if let Some(numbers) = self.specs.get(&shared) {
            return Ok(*numbers);
        }
        if self.specs.len() >= REMEMBERED || self.names.len() >= REMEMBERED {
            *self = Self::default();
        }
        let (feature, author) = (self.name(db, &shared.feature)?, self.name(db, &shared.author)?);
        let (owner, queue) = (self.name(db, &shared.owner)?, self.name(db, &shared.queue)?);
        let values = params![
            feature,
            author,
            owner,
            queue,
            shared.execution,
            shared.max_attempts,
            shared.priority,
            shared.run_timeout,
            shared.activity_timeout,
            shared.max_lines,
        ];
        db.prepare_cached(
            "insert or ignore into spec (feature, author, owner, queue, execution, max_attempts, priority, run_timeout, \
             activity_timeout, max_lines) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(values)?;
        let number = db
            .prepare_cached(
                "select n from spec where feature = ?1 and author = ?2 and owner = ?3 and queue = ?4 and execution = ?5 \
                 and max_attempts = ?6 and priority = ?7 and run_timeout = ?8 and activity_timeout = ?9 \
                 and max_lines = ?10",
            )?
            .query_row(values, |row| row.get(0))?;
        let numbers = SpecNumbers { spec: number, feature, author };
        self.specs.insert(shared, numbers);
        Ok(numbers)
    }

    fn name(&mut self, db: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.names.get(text) {
            return Ok(*number);
        }
        db.prepare_cached("insert or ignore into name (text) values (?1)")?.execute([text])?;
        let number = name_number(db, text)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        self.names.insert(text.to_owned(), number);
        Ok(number)
    }
}

/// The number of a text, where any job has had it.
pub(super) fn name_number(db: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("select n from name where text = ?1")?.query_row([text], |row| row.get(0)).optional()
}

/// The specifications a query has met so far.
#[derive(Default)]
pub(super) struct Specs(HashMap<i64, Arc<SharedSpec>>);

impl Specs {
    /// The specification of that number.
    pub(super) fn get(&mut self, db: &Connection, number: i64) -> rusqlite::Result<Arc<SharedSpec>> {
        if let Some(spec) = self.0.get(&number) {
            return Ok(Arc::clone(spec));
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let mut name = db.prepare_cached("select text from name where n = ?1")?;
        let mut name = |number: i64| name.query_row([number], |row| row.get::<_, String>(0));
        let spec = db
            .prepare_cached(
                "select feature, author, owner, queue, execution, max_attempts, priority, run_timeout, activity_timeout, \
                 max_lines from spec where n = ?1",
            )?
            .query_row([number], |row| {
                Ok(SharedSpec {
                    feature: name(row.get(0)?)?,
                    author: name(row.get(1)?)?,
                    owner: name(row.get(2)?)?,
                    queue: name(row.get(3)?)?,
                    execution: row.get(4)?,
                    max_attempts: row.get(5)?,
                    priority: row.get(6)?,
                    run_timeout: row.get(7)?,
                    activity_timeout: row.get(8)?,
                    max_lines: row.get(9)?,
                })
            })?;
        let spec = Arc::new(spec);
        self.0.insert(number, Arc::clone(&spec));
        Ok(spec)
    }
}
