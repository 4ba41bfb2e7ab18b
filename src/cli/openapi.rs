//! `linkbroker openapi`: prints the description of the API.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

/// Prints what `openapi.yaml` holds.
pub fn run() -> anyhow::Result<ExitCode> {
    stdout().write_all(crate::api::document()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
