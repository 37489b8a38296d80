//! The `iothub-emulator` program: hands over to the command line and turns what comes back into an exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The system's looks for room in all the small holes that requests leave between a million twins: a bulk creation
/// then takes three times as long as in an empty hub.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    iothub_emulator::cli::main()
}
