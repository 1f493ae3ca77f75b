//! The program. Everything it does is in the library; `longhaul help` lists it.

use std::process::ExitCode;

use clap::Parser as _;
use longhaul::cli::{self, Cli};

/// Small and steady under many short-lived allocations, which is what a page is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two threads even on one core: a page that waits for itself must find another to go on.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(error) => {
            eprintln!("longhaul: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
