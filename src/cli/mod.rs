//! The command line: each command in a file of its own, the way it is run here.
//!
//! The commands for operators work on this machine; those for people are clients of the HTTP API:
//! `access` finds the service, `client` calls it, `watch` waits, `show` and `error_text` tell.

mod access;
mod api_keys;
mod builds;
mod check;
mod client;
mod config;
mod connect;
mod database;
mod drift;
mod duration;
mod error_text;
mod errors;
mod exit;
mod keys;
mod link;
mod list;
mod openapi;
mod postgres;
mod progress;
mod serve;
mod show;
mod status;
mod step_line;
mod sweep;
mod terminal;
mod token;
mod unlink;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::Serialize;

pub use exit::Exit;

/// Links git repositories to Netlify sites.
///
/// `linkbroker serve` is the service; the other commands are its clients or its tools. A first link,
/// on this machine:
///
///   linkbroker serve --dev &
///   linkbroker connect netlify
///   linkbroker connect github
///   linkbroker link https://github.com/acme/docs --wait
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, verbatim_doc_comment, after_long_help = Exit::help())]
pub struct Cli {
    /// How results are printed.
    #[arg(long, value_enum, default_value = "human", global = true)]
    pub output: Output,

    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed. Hints, progress and errors always go to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// For programs: one JSON value, without progress; an error is a problem document.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hands the service a token to work with.
    #[command(subcommand)]
    Connect(connect::ConnectCommand),
    Connections(connect::ConnectionsArgs),
    Disconnect(connect::DisconnectArgs),
    Link(Box<link::LinkArgs>),
    Check(Box<check::CheckArgs>),
    Status(status::StatusArgs),
    List(list::ListArgs),
    Builds(builds::BuildsArgs),
    Retry(status::RetryArgs),
    Drift(drift::DriftArgs),
    Heal(drift::HealArgs),
    RotateKey(drift::RotateKeyArgs),
    Unlink(unlink::UnlinkArgs),
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
    Sweep(Box<sweep::SweepArgs>),
    /// Makes an access token for a server in developer mode.
    Token(token::TokenArgs),
    /// Runs linkbroker's own Postgres until it is told to stop, and prints its address: for tests and for a look at the data.
    Postgres(postgres::PostgresArgs),
    /// Prints what every error code means (Markdown).
    Errors,
    /// Prints the description of the API (OpenAPI 3.1, YAML).
    Openapi,
}

/// Runs the command line of this process; [`Exit`] says how it can end.
pub async fn run() -> ExitCode {
    let cli = parse();
    let output = cli.output;
    let done = match cli.command {
        Command::Connect(command) => connect::run(command, output).await,
        Command::Connections(args) => connect::list(args, output).await,
        Command::Disconnect(args) => connect::disconnect(args, output).await,
        Command::Link(args) => link::run(*args, output).await,
        Command::Check(args) => check::run(*args, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::List(args) => list::run(args, output).await,
        Command::Builds(args) => builds::run(args, output).await,
        Command::Retry(args) => status::retry(args, output).await,
        Command::Drift(args) => drift::drift(args, output).await,
        Command::Heal(args) => drift::heal(args, output).await,
        Command::RotateKey(args) => drift::rotate_key(args, output).await,
        Command::Unlink(args) => unlink::run(args, output).await,
        Command::Config(command) => config::run(command, output),
        Command::Keys(command) => keys::run(command, output).await,
        Command::ApiKeys(command) => api_keys::run(command, output).await,
        Command::Sweep(args) => sweep::run(*args, output).await,
        Command::Token(args) => token::run(&args, output),
        Command::Postgres(args) => postgres::run(&args, output).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Errors => errors::run(),
        Command::Openapi => openapi::run(),
    };
    done.unwrap_or_else(|why| {
        error_text::tell(&why, output);
        Exit::of_error(&why).into()
    })
}

/// The command line, refused when a secret stands on it.
fn parse() -> Cli {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    if let Some(flag) = typed_secret(&command, &matches) {
        let what = format!(
            "--{flag} does not take a token: shells keep what is typed, so use a file or the environment (and revoke this one)"
        );
        command.error(ErrorKind::ArgumentConflict, what).exit();
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The flag of a secret that is for the environment alone, when it was typed.
fn typed_secret(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    if let Some((name, matches)) = matches.subcommand() {
        return typed_secret(command.find_subcommand(name)?, matches);
    }
    let mut secrets = command
        .get_arguments()
        .filter(|arg| arg.is_hide_set() && arg.is_hide_env_values_set());
    let typed = secrets
        .find(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine));
    typed?.get_long().map(str::to_owned)
}

/// Prints a result: the text for people or the value for programs. Whoever reads it may stop early.
fn print(output: Output, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
    let mut result = match output {
        Output::Human => text.trim_end().to_owned(),
        Output::Json => serde_json::to_string_pretty(value)?,
    };
    result.push('\n');
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(result.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
