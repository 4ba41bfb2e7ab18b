//! `linkbroker connect`, `connections`, `disconnect`: the tokens that linkbroker works with, by name.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::access::{AccessArgs, token_file, trimmed};
use super::client::{Client, NewConnection};
use super::exit::{Exit, UsageError};
use super::show::{age, table};
use super::terminal::{ask_secret, confirm, is_attended, plain};
use super::{Output, print};
use crate::api::connections::Connection;
use crate::api::problem::ProblemCode;
use crate::config::{
    AzureDevopsTokenArgs, BitbucketTokenArgs, GiteaTokenArgs, GithubTokenArgs, GitlabTokenArgs,
    NetlifyTokenArgs, path,
};
use crate::upstream::{Credential, GithubApp, UpstreamKind};

/// Which vendor to connect.
///
/// The token is never an argument, because shells keep what is typed: it comes from a file, from
/// standard input, from the vendor's own environment variable, or from a prompt without echo. The
/// service keeps it sealed and never shows it again.
#[derive(Debug, Subcommand)]
pub enum ConnectCommand {
    /// Hands linkbroker a Netlify token.
    ///
    /// Make a personal access token at https://app.netlify.com/user/applications. Without
    /// --token-stdin and --token-file it is taken from NETLIFY_AUTH_TOKEN, else asked for.
    #[command(after_help = "\
Examples:
  linkbroker connect netlify
  linkbroker connect netlify --name acme-netlify --token-file ~/.secrets/netlify
  pass netlify | linkbroker connect netlify --token-stdin --replace")]
    Netlify {
        #[command(flatten)]
        environment: NetlifyTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Hands linkbroker a GitHub token, or a GitHub App of your own.
    ///
    /// It needs admin rights on the repositories to link: a fine-grained token with `Administration`
    /// and `Webhooks` (read and write) and `Contents` (read), or a classic one with the scope `repo`.
    /// Without --token-stdin and --token-file it is taken from GITHUB_TOKEN, else asked for. An app needs the repository
    /// permissions `Administration` and `Webhooks` (write) and `Contents` (read); keys that it makes outlive every token.
    #[command(after_help = "\
Examples:
  linkbroker connect github
  gh auth token | linkbroker connect github --token-stdin
  linkbroker connect github --host github.example.com --token-file ./token
  linkbroker connect github --app-id 123456 --private-key-file ./acme.private-key.pem")]
    Github {
        #[command(flatten)]
        app: GithubAppArgs,
        #[command(flatten)]
        environment: GithubTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Hands linkbroker a GitLab token.
    ///
    /// A personal, project or group access token with the scope `api`, whose owner is Maintainer of the projects to link.
    /// Without --token-stdin and --token-file it is taken from GITLAB_TOKEN, else asked for.
    #[command(after_help = "\
Examples:
  linkbroker connect gitlab
  glab config get token | linkbroker connect gitlab --token-stdin
  linkbroker connect gitlab --host gitlab.example.com --token-file ./token")]
    Gitlab {
        #[command(flatten)]
        environment: GitlabTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Hands linkbroker a token of Gitea or Forgejo.
    ///
    /// With the scopes `write:repository` and `read:user`, of somebody who administers the repositories to link. The host is
    /// one that the operator configured. Without --token-stdin and --token-file it is taken from GITEA_TOKEN, else asked for.
    #[command(after_help = "\
Example:
  linkbroker connect gitea --host code.example.com --token-file ./token")]
    Gitea {
        #[command(flatten)]
        environment: GiteaTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Hands linkbroker a Bitbucket token.
    ///
    /// An API token of a person, with --user and the scopes read:user, read:repository, admin:repository, read:webhook,
    /// write:webhook and delete:webhook (none implies another); or an access token of a repository, project or workspace
    /// with the scopes repository:admin and webhook. App passwords no longer work. Without --token-stdin and --token-file
    /// it is taken from BITBUCKET_TOKEN, else asked for.
    #[command(after_help = "\
Examples:
  linkbroker connect bitbucket --user ann@acme.example
  linkbroker connect bitbucket --name docs-token --token-file ./access-token")]
    Bitbucket {
        /// E-mail address of the Atlassian account that the API token belongs to. Not set: it is an access token.
        #[arg(long, value_name = "EMAIL")]
        user: Option<String>,
        #[command(flatten)]
        environment: BitbucketTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Hands linkbroker an Azure DevOps token.
    ///
    /// A personal access token with `Code: Read`, of somebody who has `View subscriptions` and `Edit subscriptions` in the
    /// project; with --entra an access token of Microsoft Entra. Without --token-stdin and --token-file it is taken from
    /// AZURE_DEVOPS_EXT_PAT, else asked for.
    #[command(after_help = "\
Examples:
  linkbroker connect azure-devops --organisation acme
  az account get-access-token --resource 499b84ac-1321-427f-aa17-267ca6975798 --query accessToken -o tsv |
    linkbroker connect azure-devops --entra --token-stdin")]
    AzureDevops {
        /// Organisation by which the token is checked. Not set: by the person's profile, which tokens of one organisation
        /// may not read.
        #[arg(long, value_name = "NAME")]
        organisation: Option<String>,
        /// The token is an access token of Microsoft Entra.
        #[arg(long, conflicts_with = "organisation")]
        entra: bool,
        #[command(flatten)]
        environment: AzureDevopsTokenArgs,
        #[command(flatten)]
        args: ConnectArgs,
    },
    /// Names a git host that linkbroker does not call: people place keys and webhooks there.
    ///
    /// Any host that Netlify can clone from over SSH. Nothing is handed over.
    #[command(after_help = "\
Example:
  linkbroker connect by-hand git.example.com
  linkbroker link git@git.example.com:team/docs.git --branch main --wait")]
    ByHand {
        /// The host, as in the repositories' SSH addresses.
        host: String,
        /// Your own name for the connection. Not set: the host.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        access: AccessArgs,
    },
}

/// A GitHub App of one's own, in place of a token.
#[derive(Debug, Args)]
pub struct GithubAppArgs {
    /// Id, or client id, of a GitHub App of your own; in place of a token.
    #[arg(long, value_name = "ID", requires = "private_key_file", conflicts_with_all = ["token_stdin", "token_file", "no_token"])]
    app_id: Option<String>,

    /// File with the private key that GitHub made for the app (PEM).
    #[arg(long, value_name = "FILE", requires = "app_id", value_parser = path())]
    private_key_file: Option<PathBuf>,

    /// The app's installation to use. Not set: the one on each repository's owner.
    #[arg(long, value_name = "NUMBER", requires = "app_id")]
    app_installation_id: Option<u64>,
}

impl GithubAppArgs {
    fn source(self) -> Option<Source> {
        let (app_id, private_key_file) = self.app_id.zip(self.private_key_file)?;
        Some(Source::App {
            app_id,
            private_key_file,
            installation_id: self.app_installation_id,
        })
    }
}

/// Where a credential comes from.
enum Source {
    /// A token, of this user at vendors that want to know; and the vendor's own environment variable with its value.
    Token(Option<String>, (&'static str, Option<SecretString>)),
    /// A GitHub App with its private key in a file.
    App {
        app_id: String,
        private_key_file: PathBuf,
        installation_id: Option<u64>,
    },
}

/// How a connection is made.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Your own name for the connection. Not set: the vendor, or the host when one is named.
    #[arg(long)]
    name: Option<String>,

    /// Host of one of the instances that the service knows. Not set: the vendor's public one.
    #[arg(long)]
    host: Option<String>,

    /// Read the token from standard input.
    #[arg(long, conflicts_with = "token_file")]
    token_stdin: bool,

    /// Read the token from this file.
    #[arg(long, value_name = "FILE", value_parser = path())]
    token_file: Option<PathBuf>,

    /// Hand over no token: public repositories can be read, and people do what needs rights.
    #[arg(long, conflicts_with_all = ["token_stdin", "token_file"])]
    no_token: bool,

    /// When a connection has this name already, give it the new token.
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    access: AccessArgs,
}

/// Lists the connections by name.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  linkbroker connections --output json | jq -r '.connections[].name'"
)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    access: AccessArgs,
}

/// Removes a connection and wipes its token; refused while a link uses it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  linkbroker disconnect acme-github")]
pub struct DisconnectArgs {
    /// Name of the connection.
    name: String,

    /// Do not ask. Without a terminal nothing is asked.
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn run(command: ConnectCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        ConnectCommand::Netlify { environment, args } => {
            let set = ("NETLIFY_AUTH_TOKEN", environment.netlify_auth_token);
            connect(
                UpstreamKind::Netlify,
                Source::Token(None, set),
                args,
                output,
            )
            .await
        }
        ConnectCommand::Github {
            app,
            environment,
            args,
        } => {
            let set = ("GITHUB_TOKEN", environment.github_token);
            let source = app.source().unwrap_or(Source::Token(None, set));
            connect(UpstreamKind::Github, source, args, output).await
        }
        ConnectCommand::Gitlab { environment, args } => {
            let set = ("GITLAB_TOKEN", environment.gitlab_token);
            connect(UpstreamKind::Gitlab, Source::Token(None, set), args, output).await
        }
        ConnectCommand::Gitea { environment, args } => {
            let set = ("GITEA_TOKEN", environment.gitea_token);
            connect(UpstreamKind::Gitea, Source::Token(None, set), args, output).await
        }
        ConnectCommand::Bitbucket {
            user,
            environment,
            args,
        } => {
            let set = ("BITBUCKET_TOKEN", environment.bitbucket_token);
            connect(
                UpstreamKind::Bitbucket,
                Source::Token(user, set),
                args,
                output,
            )
            .await
        }
        ConnectCommand::AzureDevops {
            organisation,
            entra,
            environment,
            args,
        } => {
            let set = ("AZURE_DEVOPS_EXT_PAT", environment.azure_devops_ext_pat);
            let user = (!entra).then(|| organisation.unwrap_or_default());
            connect(
                UpstreamKind::AzureDevops,
                Source::Token(user, set),
                args,
                output,
            )
            .await
        }
        ConnectCommand::ByHand { host, name, access } => {
            let args = ConnectArgs {
                name,
                host: Some(host),
                token_stdin: false,
                token_file: None,
                no_token: true,
                replace: false,
                access,
            };
            connect(
                UpstreamKind::Manual,
                Source::Token(None, ("", None)),
                args,
                output,
            )
            .await
        }
    }
}

async fn connect(
    kind: UpstreamKind,
    source: Source,
    args: ConnectArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let name = args.name.clone().or(args.host.clone());
    let new = NewConnection {
        name: name.unwrap_or_else(|| kind.to_string()).replace(':', "-"),
        kind,
        credential: credential(kind, source, &args).await?,
        host: args.host,
    };
    let (connection, what) = match client.connect(&new).await {
        Err(error) if args.replace && error.is_problem(ProblemCode::ConnectionExists) => {
            (replace(&client, &new).await?, "has a new credential")
        }
        made => (made?, "is connected"),
    };
    let Connection {
        name, kind, host, ..
    } = &connection;
    let text = format!("`{}` {what} ({kind} at {host}).", plain(name));
    print(output, &text, &connection)?;
    Ok(Exit::Done.into())
}

/// Gives a connection another token, but not one for something else.
async fn replace(client: &Client, new: &NewConnection) -> anyhow::Result<Connection> {
    let old = client.connection_named(&new.name).await?;
    let same_host = new
        .host
        .as_ref()
        .is_none_or(|host| host.eq_ignore_ascii_case(&old.host));
    if old.kind != new.kind.as_str() || !same_host {
        let (kind, host) = (&old.kind, &old.host);
        let what = format!(
            "the connection `{}` is to {kind} at {host}; choose another --name",
            new.name
        );
        return Err(UsageError(what).into());
    }
    client.replace_credential(&old.id, new).await?;
    Ok(client.connection_named(&new.name).await?)
}

async fn credential(
    kind: UpstreamKind,
    source: Source,
    args: &ConnectArgs,
) -> anyhow::Result<Credential> {
    Ok(match source {
        Source::Token(..) if args.no_token => Credential::Anonymous,
        Source::Token(None, environment) => {
            Credential::Token(token(kind, environment, args).await?)
        }
        Source::Token(Some(user), environment) => Credential::Basic {
            user,
            secret: token(kind, environment, args).await?,
        },
        Source::App {
            app_id,
            private_key_file,
            installation_id,
        } => Credential::GithubApp(GithubApp {
            app_id,
            private_key: token_file(&private_key_file)?,
            installation_id,
        }),
    })
}

async fn token(
    kind: UpstreamKind,
    (variable, set): (&str, Option<SecretString>),
    args: &ConnectArgs,
) -> anyhow::Result<SecretString> {
    if args.token_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return trimmed(text.into(), "standard input");
    }
    if let Some(file) = args
        .token_file
        .as_deref()
        .filter(|file| !file.as_os_str().is_empty())
    {
        return token_file(file);
    }
    if let Some(set) = set.filter(|set| !set.expose_secret().trim().is_empty()) {
        eprintln!("The token is taken from {variable}.");
        return trimmed(set, variable);
    }
    if is_attended() {
        return trimmed(
            ask_secret(&format!("Token for {kind}")).await?,
            "what was typed",
        );
    }
    let what = format!("no token: use --token-stdin or --token-file, or set {variable}");
    Err(UsageError(what).into())
}

pub(super) async fn list(args: ConnectionsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let all = args.access.client()?.connections().await?;
    let header = ["NAME", "KIND", "HOST", "CREDENTIAL", "MADE"];
    let text = match all.connections.is_empty() {
        true => "There are no connections: `linkbroker connect` makes one.".to_owned(),
        false => table(&header, all.connections.iter().map(row)),
    };
    print(output, &text, &all)?;
    Ok(Exit::Done.into())
}

fn row(connection: &Connection) -> Vec<String> {
    vec![
        connection.name.clone(),
        connection.kind.clone(),
        connection.host.clone(),
        connection.credential_type.clone(),
        age(connection.created_at),
    ]
}

pub(super) async fn disconnect(args: DisconnectArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let connection = client.connection_named(&args.name).await?;
    let Connection {
        name, kind, host, ..
    } = &connection;
    let question = format!(
        "Remove the connection `{}` ({kind} at {host})?",
        plain(name)
    );
    if !args.yes && is_attended() && !confirm(&question)? {
        anyhow::bail!("nothing was done");
    }
    client.disconnect(&connection.id).await?;
    print(
        output,
        &format!("`{}` is removed.", plain(name)),
        &connection,
    )?;
    Ok(Exit::Done.into())
}
