//! The program. Everything it does is in the library; `longhaul help` lists it.

use std::process::ExitCode;

use clap::Parser as _;
use longhaul::cli::{self, Cli, Command};

/// mimalloc: rendering a page makes many short-lived allocations, under which its memory stays small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::HoldOutput = cli.command {
        cli::exec::keeper::run();
        return ExitCode::SUCCESS;
    }
    // Two threads even on one core: a page that waits for itself must find another to go on.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let is_client = is_client(&cli.command);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(cli::run(cli));
            if is_client {
                // Dropping it would wait for the system to give up on a name it cannot resolve, and nothing
                // of a client's is left to be done.
                runtime.shutdown_background();
            }
            code
        }
        Err(error) => {
            eprintln!("longhaul: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a command only talks to a server. The others have a database, whose last writes are waited for.
fn is_client(command: &Command) -> bool {
    matches!(
        command,
        Command::Exec(_)
            | Command::Jobs(_)
            | Command::Health(_)
            | Command::Cleanup(_)
            | Command::EmergencyCleanup(_)
    )
}
