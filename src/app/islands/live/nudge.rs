//! What the stream of events says, read without a parser: the browser carries this code.

/// A state of the server: which run of it, and how often something had changed in that run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which run of the server.
    pub boot: String,
    /// Grows with every change.
    pub revision: u64,
}

impl Mark {
    /// Whether a page that shows this state shows `other` too.
    pub fn covers(&self, other: &Self) -> bool {
        self.boot == other.boot && self.revision >= other.revision
    }
}

/// The state an event announces; `None` where it names none.
pub fn announced(data: &str) -> Option<Mark> {
    let (_, boot) = data.split_once("\"boot\":\"")?;
    let (boot, _) = boot.split_once('"')?;
    let (_, digits) = data.split_once("\"revision\":")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some(Mark { boot: boot.to_owned(), revision: digits[..end].parse().ok()? })
}

/// Whether an event is about a job. One that names no jobs may be about any.
pub fn concerns(data: &str, job: &str) -> bool {
    !data.contains("\"jobs\":[") || data.contains(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"boot":"a1","jobs":["0190-x","0190-y"],"revision":42}"#;

    #[test]
    fn an_event_names_a_state_in_any_order_of_its_fields() {
        let mark = Mark { boot: "a1".to_owned(), revision: 42 };
        assert_eq!(announced(EVENT), Some(mark.clone()));
        assert_eq!(announced(r#"{"revision":42,"boot":"a1","jobs":null}"#), Some(mark));
        for nothing in ["", "{}", r#"{"boot":"a1"}"#, r#"{"revision":42}"#, r#"{"boot":"a1","revision":x}"#] {
            assert_eq!(announced(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn an_event_concerns_the_jobs_it_names_or_all() {
        assert!(concerns(EVENT, "0190-y"));
        assert!(!concerns(EVENT, "0190-z"));
        assert!(concerns(r#"{"boot":"a1","jobs":null,"revision":42}"#, "0190-z"));
    }

    #[test]
    fn a_later_state_of_the_same_run_covers_an_earlier_one() {
        let mark = |boot: &str, revision| Mark { boot: boot.to_owned(), revision };
        assert!(mark("a", 2).covers(&mark("a", 2)));
        assert!(!mark("a", 1).covers(&mark("a", 2)));
        assert!(!mark("b", 9).covers(&mark("a", 2)));
    }
}
