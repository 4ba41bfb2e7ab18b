//! `linkbroker config`: checks the configuration, or shows what can be configured.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{Output, print};
use crate::config::{Config, ConfigError, ServeArgs, env_file, reference};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Checks the environment and flags that `serve` would use: prints what is wrong and how to mend it (exit code 1), else what each setting came to.
    Check(Box<ServeArgs>),
    /// Prints every setting with its default and what it does, as a file for the environment.
    Show,
}

pub(super) fn run(command: ConfigCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(args) => match Config::from_args(*args) {
            Ok(config) => good(&config, output),
            Err(error) => bad(&error, output),
        },
        ConfigCommand::Show => {
            let settings = reference();
            print(output, &env_file(&settings), &settings)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn good(config: &Config, output: Output) -> anyhow::Result<ExitCode> {
    let settings = config.effective();
    let width = settings
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let lines = settings
        .iter()
        .map(|(name, value)| format!("  {name:width$}  {value}\n"));
    let text = format!("The configuration is good.\n{}", lines.collect::<String>());
    let settings = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()));
    let value = json!({"ok": true, "dev": config.dev, "settings": settings.collect::<Map<String, Value>>()});
    print(output, &text, &value)?;
    Ok(ExitCode::SUCCESS)
}

fn bad(error: &ConfigError, output: Output) -> anyhow::Result<ExitCode> {
    let value = json!({"ok": false, "problems": error.problems});
    print(output, &error.to_string(), &value)?;
    Ok(ExitCode::FAILURE)
}
