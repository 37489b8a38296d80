//! The `iothub-emulator` program: hands over to the command line and turns what comes back into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    iothub_emulator::cli::main()
}
