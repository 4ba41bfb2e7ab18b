//! Command line of the sandbox: start it, say where it listens, run until Ctrl-C or SIGTERM; or ask a running one.

mod ask;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use linkbroker_sandbox::{
    ACCOUNT, AZURE_DEVOPS_TOKEN, BITBUCKET_ACCESS_TOKEN, BITBUCKET_EMAIL, BITBUCKET_TOKEN,
    GITEA_TOKEN, GITHUB_TOKEN, GITLAB_TOKEN, NETLIFY_TOKEN, Options, Sandbox, Switches,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Netlify, GitHub, GitLab, Gitea, Bitbucket and Azure DevOps on this machine, with state and behaviour: for demos, tests and
/// a platform's own CI.
///
/// Prints one line of JSON with its addresses when it is ready, and the tokens that exist from the start, such as
/// `sandbox-netlify-token` (account `sandbox`) and `sandbox-github-token` (administrator of every repository).
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address of the HTTP door: vendors' APIs, served sites, admin door
    #[arg(long, default_value = "127.0.0.1:9999")]
    listen: SocketAddr,
    /// Address of the SSH front of the git repositories
    #[arg(long, default_value = "127.0.0.1:0")]
    ssh_listen: SocketAddr,
    /// Folder for repositories and published files; a temporary one, deleted at the end, when absent
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Milliseconds that every API call takes at least
    #[arg(long, default_value_t = 0, value_name = "N")]
    latency_ms: u64,
    /// Switches as a JSON merge patch, e.g. '{"netlify": {"stop_builds_honoured": false}}'
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    switches: Option<Value>,
    /// Also write the line of JSON to this file
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// What else there is to do.
#[derive(Subcommand)]
enum Command {
    Ask(ask::AskArguments),
}

const EXAMPLES: &str = r#"Examples:
  linkbroker-sandbox &
  # a private repository with a small site that really builds
  curl -s localhost:9999/__sandbox/repositories -H 'content-type: application/json' \
       -d '{"owner": "acme", "name": "docs", "template": "site"}'
  # the vendors' own APIs
  curl -s localhost:9999/netlify/api/v1/user -H 'authorization: Bearer sandbox-netlify-token'
  curl -s localhost:9999/github/repos/acme/docs -H 'authorization: Bearer sandbox-github-token'
  # what was created and called; the same without curl and jq
  curl -s localhost:9999/__sandbox/counts | jq .sites.created
  linkbroker-sandbox ask GET /__sandbox/counts --field /sites/created

Logs go to stderr; RUST_LOG sets what is logged (default: warn). All of the admin door is described in sandbox/README.md."#;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Ask(question)) => ask::run(question).await,
        None => run(arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // Listening for signals before the sandbox exists, so that an early one ends it cleanly too.
    let mut terminate = signal(SignalKind::terminate())?;
    let sandbox = Sandbox::start(options(&arguments)?).await?;
    tokio::select! {
        outcome = serve(&sandbox, arguments.ready_file.as_deref()) => outcome?,
        outcome = tokio::signal::ctrl_c() => outcome?,
        _ = terminate.recv() => {}
    }
    sandbox.shutdown().await;
    Ok(())
}

fn options(arguments: &Arguments) -> anyhow::Result<Options> {
    let mut switches = Switches::default();
    if let Some(patch) = &arguments.switches {
        switches = switches.patched(patch).context("--switches")?;
    }
    switches.latency_ms = switches.latency_ms.max(arguments.latency_ms);
    Ok(Options {
        listen: arguments.listen,
        ssh_listen: arguments.ssh_listen,
        data_dir: arguments.data.clone(),
        switches,
    })
}

/// Announces the sandbox; the rest happens in its own tasks.
async fn serve(sandbox: &Sandbox, ready_file: Option<&Path>) -> anyhow::Result<()> {
    sandbox.warm_up().await;
    announce(sandbox, ready_file)?;
    std::future::pending().await
}

fn announce(sandbox: &Sandbox, ready_file: Option<&Path>) -> anyhow::Result<()> {
    let line = json!({
        "netlify_url": sandbox.netlify_url(), "github_url": sandbox.github_url(), "admin_url": sandbox.admin_url(),
        "sites_url": format!("{}/sites", sandbox.world().origin()), "ssh_addr": sandbox.ssh_addr(),
        "gitlab_url": sandbox.gitlab_url(), "gitlab_token": GITLAB_TOKEN,
        "gitea_url": sandbox.gitea_url(), "gitea_token": GITEA_TOKEN, "bitbucket_url": sandbox.bitbucket_url(),
        "bitbucket_email": BITBUCKET_EMAIL, "bitbucket_token": BITBUCKET_TOKEN,
        "bitbucket_access_token": BITBUCKET_ACCESS_TOKEN,
        "azure_devops_url": sandbox.azure_devops_url(), "azure_devops_token": AZURE_DEVOPS_TOKEN,
        "netlify_token": NETLIFY_TOKEN, "github_token": GITHUB_TOKEN, "account": ACCOUNT,
    });
    println!("{line}");
    if let Some(file) = ready_file {
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let part = file.with_extension("part");
        std::fs::write(&part, format!("{line}\n")).with_context(|| part.display().to_string())?;
        std::fs::rename(&part, file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}
