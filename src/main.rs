//! The program `linkbroker`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    linkbroker::cli::run().await
}
