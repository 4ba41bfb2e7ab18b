//! `linkbroker errors`: prints what every error code means.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

/// Prints what `docs/errors.md` holds.
pub fn run() -> anyhow::Result<ExitCode> {
    stdout().write_all(crate::api::errors::markdown().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
