//! The program. Everything it does is in the library; see `longhaul help`.

use std::process::ExitCode;

use clap::Parser;

/// Small and steady under many short-lived allocations, which is what a page is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Tmp {
    #[command(flatten)]
    settings: longhaul::server::SettingsArgs,
}

fn main() -> ExitCode {
    let args = Tmp::parse();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(longhaul::cli::serve::run(&args.settings))
}
