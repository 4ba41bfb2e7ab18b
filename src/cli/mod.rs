//! The command line: each command in a file of its own, the way it is run here.

mod api_keys;
mod config;
mod database;
mod keys;
mod openapi;
mod postgres;
mod serve;
mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Links git repositories to Netlify sites for other programs.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// How results are printed.
    #[arg(long, value_enum, default_value = "human", global = true)]
    pub output: Output,

    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed. Hints and errors always go to standard error, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// For programs: one JSON value.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the service: the API, the workers, or both.
    Serve(Box<crate::config::ServeArgs>),
    /// Checks the configuration, or shows what can be configured.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Makes master keys and moves the service from one to the next.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Makes, lists and revokes the keys of callers without an issuer.
    #[command(subcommand)]
    ApiKeys(api_keys::ApiKeysCommand),
    /// Makes an access token for a server in developer mode.
    Token(token::TokenArgs),
    /// Runs linkbroker's own Postgres until it is told to stop, and prints its address: for tests and for a look at the data.
    Postgres(postgres::PostgresArgs),
    /// Prints the description of the API (OpenAPI 3.1, YAML).
    Openapi,
}

/// Runs the command line of this process.
///
/// Exit codes: 0 done, 1 not done (standard error says why), 2 the command line is wrong.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Config(command) => config::run(command, cli.output),
        Command::Keys(command) => keys::run(command, cli.output).await,
        Command::ApiKeys(command) => api_keys::run(command, cli.output).await,
        Command::Token(args) => token::run(&args, cli.output),
        Command::Postgres(args) => postgres::run(&args, cli.output).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Openapi => openapi::run(),
    };
    done.unwrap_or_else(|why| {
        eprintln!("error: {why:#}");
        ExitCode::FAILURE
    })
}

/// Prints a result: the text for people or the value for programs.
fn print(output: Output, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match output {
        Output::Human => writeln!(stdout, "{}", text.trim_end())?,
        Output::Json => writeln!(stdout, "{}", serde_json::to_string_pretty(value)?)?,
    }
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
