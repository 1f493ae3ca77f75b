//! What happens when things break: the process is killed, the power fails, the disk refuses, the clock
//! jumps, everybody ends the same job at once, an upgrade is cut short.
//!
//! The promise is the same each time: what was acknowledged is there, nothing is half there, and whoever
//! was not served was told so. Each guarantee has a negative control: the same judge, given a store that
//! breaks the promise, must say so. `make test` runs a sample, `make soak` the numbers the product claims;
//! the only difference is a few variables, read here.

mod clock;
#[path = "../store/postgres/cluster.rs"]
pub mod cluster;
mod faults;
mod http;
mod judge;
mod kill;
mod nodes;
mod power;
mod races;
mod server;
mod upgrade;
mod vfs;

use std::str::FromStr;

/// A number from the environment, so that `make soak` can ask for more.
fn setting<T: FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Err(_) => usual,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, which is no number")),
    }
}

/// Where all chance begins. A failure prints it; `LONGHAUL_CRASH_SEED` brings the same run back.
fn seed() -> u64 {
    setting("LONGHAUL_CRASH_SEED", 20_261_124)
}

/// Chance that can be repeated (SplitMix64): the same seed gives the same throws on every machine.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    /// `values` in another order.
    fn shuffle<T>(&mut self, values: &mut [T]) {
        for place in (1..values.len()).rev() {
            let other = self.below(place as u64 + 1) as usize;
            values.swap(place, other);
        }
    }
}
