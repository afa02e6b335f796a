//! The program `worker-node`; all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudai_worker::main()
}
