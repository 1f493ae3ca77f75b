//! The program. Everything it does is in the library; `longhaul help` lists it.

use std::process::ExitCode;

use clap::Parser as _;
use longhaul::cli::{self, Cli, Command};

/// mimalloc: rendering a page makes many short-lived allocations, under which its memory stays small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if let Command::Exec(args) = &mut cli.command {
        args.hide_token();
    }
    if let Command::HoldOutput = cli.command {
        cli::exec::keeper::run();
        return ExitCode::SUCCESS;
    }
    // Two threads even on one core: a page that waits for itself must find another to go on.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let command = match &cli.command {
        Command::Exec(args) if !args.drain_spool => Some(args.clone()),
        _ => None,
    };
    // The runtime does not survive being refused a thread, and a command must run all the same.
    let room = command.as_ref().map_or(Ok(()), |_| has_room_for(threads + cli::exec::THREADS));
    let is_client = is_client(&cli.command);
    let runtime = room.and_then(|()| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    });
    match (runtime, command) {
        (Ok(runtime), _) => {
            let code = runtime.block_on(cli::run(cli));
            if is_client {
                // Dropping it would wait for the system to give up on a name it cannot resolve, and nothing
                // of a client's is left to be done.
                runtime.shutdown_background();
            }
            code
        }
        (Err(error), Some(args)) => ExitCode::from(cli::exec::run_without(&args, &error)),
        (Err(error), None) => {
            eprintln!("longhaul: the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether so many threads can be started, and the files opened that the runtime panics without.
fn has_room_for(threads: usize) -> std::io::Result<()> {
    const PIPES: usize = 5;
    let pipes: std::io::Result<Vec<_>> = (0..PIPES).map(|_| std::io::pipe()).collect();
    drop(pipes?);
    let gate = std::sync::RwLock::new(());
    let closed = gate.write();
    std::thread::scope(|scope| {
        let wait = || drop(gate.read());
        let started: std::io::Result<Vec<_>> =
            (0..threads).map(|_| std::thread::Builder::new().spawn_scoped(scope, wait)).collect();
        drop(closed);
        started.map(drop)
    })
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
