//! The entry of the program: see the `cli` folder.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    gossip_sidecar::run()
}
