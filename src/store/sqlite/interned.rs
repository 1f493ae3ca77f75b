//! What many jobs share, stored once: features, authors and such by number, and whole specifications.
//!
//! A history of millions has some dozen features and some hundred people. The writer remembers the numbers
//! it has seen; a reader looks up those it meets. Given up: removing what no job uses any more.

use std::borrow::Cow;
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::rows::unreadable;
use crate::model::job_fields::job_fields;
use crate::model::job_fields::types::*;

/// Makes the struct of the list of fields.
macro_rules! shared_spec {
    (
        required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty;)* }
        named $named:tt
        asked { $($(#[doc = $asked_doc:literal])* $(#[serde($($asked_serde:tt)*)])? $asked:ident: $asked_type:ty = $asked_value:expr;)* }
        asked_rarely { $($(#[doc = $rarely_doc:literal])* $(#[serde($($rarely_serde:tt)*)])? $rarely:ident: $rarely_type:ty = $rarely_value:expr;)* }
        $($rest:tt)*
    ) => {
        /// What of a specification is shared.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(super) struct SharedSpec {
            $(pub $required: $required_type,)*
            $(pub $asked: $asked_type,)*
            $(pub $rarely: $rarely_type,)*
        }

        impl From<&Spec> for SharedSpec {
            fn from(spec: &Spec) -> Self {
                Self {
                    $($required: spec.$required.clone(),)*
                    $($asked: spec.$asked.clone(),)*
                    $($rarely: spec.$rarely.clone(),)*
                }
            }
        }

        /// What the row of a shared specification holds beside the numbers of its feature and author, as JSON.
        #[derive(Serialize, Deserialize)]
        struct Rest<'a> {
            owner: Cow<'a, str>,
            $($(#[serde($($asked_serde)*)])? $asked: $asked_type,)*
            $($(#[serde($($rarely_serde)*)])? $rarely: $rarely_type,)*
        }

        impl SharedSpec {
            fn rest(&self) -> Rest<'_> {
                Rest {
                    owner: Cow::Borrowed(&self.owner),
                    $($asked: self.$asked.clone(),)*
                    $($rarely: self.$rarely.clone(),)*
                }
            }

            fn read(feature: Feature, author: Author, rest: Rest<'_>) -> Self {
                Self {
                    feature,
                    author,
                    owner: rest.owner.into_owned(),
                    $($asked: rest.$asked,)*
                    $($rarely: rest.$rarely,)*
                }
            }
        }
    };
}

job_fields!(shared_spec);

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
        let (feature, author) =
            (self.name(db, shared.feature.as_str())?, self.name(db, shared.author.as_str())?);
        let rest = serde_json::to_string(&shared.rest()).map_err(unreadable)?;
        let values = params![feature, author, rest];
        db.prepare_cached("insert or ignore into spec (feature, author, rest) values (?1, ?2, ?3)")?
            .execute(values)?;
        let number = db
            .prepare_cached("select n from spec where feature = ?1 and author = ?2 and rest = ?3")?
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
        let spec = db.prepare_cached("select feature, author, rest from spec where n = ?1")?.query_row(
            [number],
            |row| {
                let feature = Feature::new(name(row.get(0)?)?).map_err(unreadable)?;
                let author = Author::new(name(row.get(1)?)?).map_err(unreadable)?;
                let rest = serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(unreadable)?;
                Ok(SharedSpec::read(feature, author, rest))
            },
        )?;
        let spec = Arc::new(spec);
        self.0.insert(number, Arc::clone(&spec));
        Ok(spec)
    }
}
