//! Two builds in the lifecycle race, turn by turn: what a change is worth, when the machine moves more than it.
//! The time a lifecycle has a core for moves less than the rate.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::lifecycle::load;
use crate::machine::core_time_of;
use crate::report::Row;
use crate::server::{binary, longhaul_of};
use crate::writing::median;

const WARM_UP: Duration = Duration::from_millis(700);
const SPAN: Duration = Duration::from_secs(3);

/// The median of a list drawn from a list, a thousand times: where the middle 95 % of them lie.
fn interval(values: &[f64]) -> (f64, f64) {
    let mut seed = 1_u64;
    let mut medians: Vec<f64> = (0..1_000)
        .map(|_| {
            let drawn: Vec<f64> = values
                .iter()
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    values[(seed >> 33) as usize % values.len()]
                })
                .collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[25], medians[974])
}

/// This build against another, with as many pairs.
pub async fn race(folder: &Path, other: &Path, pairs: usize) -> Vec<Row> {
    let mut sides = Vec::new();
    for (name, program) in [("ours", binary()), ("theirs", other.to_owned()), ("again", binary())] {
        let place = folder.join(name);
        std::fs::create_dir_all(&place).expect("a folder for the server");
        let service = longhaul_of(&program, &place, "sqlite://jobs.db", true, &[]).await;
        sides.push((service, Vec::new(), None, Vec::new()));
    }
    let mut errors = 0;
    for pair in 0..pairs {
        let order = if pair % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for side in order {
            let (service, rates, all, core) = &mut sides[side];
            let before = core_time_of(service.id());
            let measured = load(service, 64, WARM_UP, SPAN).await;
            let spent = core_time_of(service.id()).saturating_sub(before);
            core.push(spent.as_secs_f64() * 1e6 / measured.acknowledged.max(1) as f64);
            rates.push(measured.rate());
            errors += measured.errors;
            match all {
                None => *all = Some(measured),
                Some(all) => all.add(&measured),
            }
        }
    }
    let of_each = |one: &[f64], other: &[f64]| -> Vec<f64> {
        one.iter().zip(other).map(|(one, other)| one / other).collect()
    };
    let mut rows = Vec::new();
    for (name, (_, rates, all, core)) in
        ["this build", "the other", "this build again"].into_iter().zip(&sides)
    {
        rows.push(
            Row::new(name, median(rates), "lifecycles/s").errors(errors).more(json!({"rounds": rates})),
        );
        let p99 = all.as_ref().map_or(0.0, |all| all.whole.value_at_quantile(0.99) as f64 / 1e3);
        rows.push(Row::new(format!("{name}: a whole lifecycle's p99"), p99, "ms").errors(errors));
        rows.push(Row::new(format!("{name}: core time"), median(core), "us each").errors(errors));
    }
    for (name, one, other) in [("this build to the other", 0, 1), ("this build to itself", 0, 2)] {
        let (one, other) = (&sides[one], &sides[other]);
        for (what, ratios) in [("rate", of_each(&one.1, &other.1)), ("core time", of_each(&one.3, &other.3))]
        {
            let (low, high) = interval(&ratios);
            let name = format!("{name}: {what} ({low:.3} to {high:.3})");
            rows.push(
                Row::new(name, median(&ratios), "times").errors(errors).more(json!({"ratios": ratios})),
            );
        }
    }
    for (service, ..) in sides {
        service.stop();
    }
    rows
}
