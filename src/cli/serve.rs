//! `linkbroker serve`: runs the service until it is told to stop.

use std::process::ExitCode;

use crate::{
    config::{Config, ServeArgs},
    telemetry,
};

/// Checks the configuration, then serves.
pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::from_args(args)?;
    telemetry::start_log(&config.log)?;
    let metrics = telemetry::start_metrics()?;
    crate::serve::run(config, metrics).await?;
    Ok(ExitCode::SUCCESS)
}
