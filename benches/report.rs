//! Figures, for people and for files.

use std::path::Path;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// A figure beside what was aimed at.
pub struct Row {
    pub what: String,
    pub figure: f64,
    pub unit: &'static str,
    /// Whether less is better, and the target, where there is one.
    pub target: Option<(bool, f64)>,
    /// Requests that were not answered as they should have been: any of them voids the row.
    pub errors: u64,
    pub more: Value,
}

impl Row {
    pub fn new(what: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self { what: what.into(), figure, unit, target: None, errors: 0, more: Value::Object(Map::new()) }
    }

    pub fn at_least(mut self, target: f64) -> Self {
        self.target = Some((false, target));
        self
    }

    pub fn at_most(mut self, target: f64) -> Self {
        self.target = Some((true, target));
        self
    }

    pub fn errors(mut self, errors: u64) -> Self {
        self.errors = errors;
        self
    }

    pub fn more(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            _ if self.errors > 0 => "VOID",
            None => "",
            Some((true, most)) if self.figure <= most => "met",
            Some((false, least)) if self.figure >= least => "met",
            Some(_) => "MISSED",
        }
    }

    /// Prints it.
    pub fn say(&self) {
        let target = match self.target {
            None => String::new(),
            Some((true, most)) => format!("(at most {most})"),
            Some((false, least)) => format!("(at least {least})"),
        };
        let figure =
            if self.figure >= 100.0 { format!("{:.0}", self.figure) } else { format!("{:.3}", self.figure) };
        println!("  {:<58} {figure:>10} {:<16} {target:<18} {}", self.what, self.unit, self.verdict());
        if self.errors > 0 {
            println!("    {} requests failed", self.errors);
        }
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "figure": self.figure, "unit": self.unit, "errors": self.errors,
            "target": self.target.map(|(_, target)| target), "verdict": self.verdict(), "more": self.more,
        })
    }
}

/// Percentiles in milliseconds.
pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999), "max": histogram.max() as f64 / 1e3})
}

/// Writes a scenario's figures to `target/bench`.
pub fn write(name: &str, machine: &Value, conditions: &str, rows: &[Row]) {
    let folder = Path::new("target/bench");
    let rows: Vec<_> = rows.iter().map(Row::json).collect();
    let all = json!({"scenario": name, "machine": machine, "conditions": conditions, "rows": rows});
    let text = serde_json::to_string_pretty(&all).expect("figures are JSON");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.json")), text))
        .expect("target/bench can be written");
}
