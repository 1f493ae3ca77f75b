//! What `exec` itself has to say. It goes to stderr, between the command's own lines, and begins with its
//! name so that nobody takes it for the command's.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Where `exec` speaks. Cheap to clone.
#[derive(Clone)]
pub struct Notices(Arc<Mutex<Box<dyn Write + Send>>>);

impl Notices {
    /// Speaks to `to`.
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(to))))
    }

    /// Says a sentence, on one line. That nobody can hear it is no reason to stop.
    pub fn say(&self, sentence: &str) {
        let line = format!("longhaul: {}\n", crate::model::visible(sentence, false));
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
    }
}
