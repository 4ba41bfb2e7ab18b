//! `linkbroker link`: asks for a link, and waits for it when told to.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use secrecy::SecretString;

use super::access::AccessArgs;
use super::exit::Exit;
use super::watch::{Ending, WaitArgs, conclude, watch};
use super::{Output, print};
use crate::api::links::view::Link;
use crate::config::own_variable;
use crate::link::access::{AccessMode, INSTALLATION_MAX};
use crate::link::environment::{EnvSettings, EnvVariable, Environment};
use crate::link::request::{BuildSettings, ConnectionNames, LinkRequest, SiteRequest, Verify};

/// Links a repository to a Netlify site.
///
/// linkbroker checks the repository, makes a deploy key and a webhook, creates the site or takes the one named, attaches
/// the repository, follows the first build and proves that a push starts the next one. It does so
/// in the background; --wait stays until it is done and says what is wrong when it cannot be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker link https://github.com/acme/docs --wait
  linkbroker link git@github.com:acme/docs.git --site acme-docs --team acme \\
      --command 'npm run build' --publish dist --ref team-a/docs --wait --timeout 20m
  NPM_TOKEN=$(cat token) linkbroker link https://github.com/acme/docs --env NODE_VERSION=22 --secret-env NPM_TOKEN
  linkbroker link https://github.com/acme/docs --output json | jq -r .id")]
pub struct LinkArgs {
    #[command(flatten)]
    request: RequestArgs,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

/// What the link is to be: the flags of a request.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Address of the repository, as people paste it.
    #[arg(value_name = "REPOSITORY")]
    repository: String,

    /// Name of the site, unique across Netlify. Not set: the repository's name and some random letters.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// Slug of the Netlify team. Not set: the only team of the connection.
    #[arg(long, value_name = "SLUG")]
    team: Option<String>,

    /// Netlify's id of a site that is there, in place of a new one.
    #[arg(long, value_name = "ID", conflicts_with_all = ["site", "team"])]
    site_id: Option<String>,

    /// Take the site from the repository that is attached to it. Netlify deletes the site's key, build hooks and
    /// notifications then.
    #[arg(long, requires = "site_id")]
    relink: bool,

    /// Branch to build for production. Not set: the repository's default branch.
    #[arg(long)]
    branch: Option<String>,

    /// Command that builds the site. Not set: Netlify decides, as with the next three.
    #[arg(long)]
    command: Option<String>,

    /// Folder that the build writes, relative to --base.
    #[arg(long, value_name = "DIR")]
    publish: Option<String>,

    /// Folder in which the build runs.
    #[arg(long, value_name = "DIR")]
    base: Option<String>,

    /// Folder of the serverless functions.
    #[arg(long, value_name = "DIR")]
    functions: Option<String>,

    /// Folder of the package in a monorepo.
    #[arg(long, value_name = "DIR")]
    package_path: Option<String>,

    /// An environment variable of the site; repeat it for more. Secrets go with --secret-env.
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,

    /// An environment variable that Netlify shows to nobody; its value is that of this command's own environment variable
    /// with the name. Repeat it for more.
    #[arg(long = "secret-env", value_name = "KEY", value_parser = secret_variable)]
    secret_env: Vec<(String, SecretString)>,

    /// Let Netlify in by this installation of its GitHub App, in place of a deploy key and a webhook. Only where the
    /// operator has granted it.
    #[arg(long, value_name = "NUMBER", requires = "team", value_parser = value_parser!(u64).range(1..=INSTALLATION_MAX))]
    installation_id: Option<u64>,

    /// What has to be seen before the link is `live`: that a push starts a build, or the first build alone.
    #[arg(long, default_value = "push", value_parser = verify())]
    verify: Verify,

    /// Your own name for the link; the other commands take it in place of the id.
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,

    /// A label of your own; repeat it for more.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Connection to Netlify. Not set: the only one that there is.
    #[arg(long, value_name = "CONNECTION")]
    netlify: Option<String>,

    /// Connection to the git provider. Not set: the only one to the repository's host.
    #[arg(long, value_name = "CONNECTION")]
    provider: Option<String>,
}

fn verify() -> impl TypedValueParser<Value = Verify> {
    PossibleValuesParser::new(["push", "build"]).map(|word| match word.as_str() {
        "build" => Verify::Build,
        _ => Verify::Push,
    })
}

/// Command lines are seen by everybody on the machine and kept by shells.
fn secret_variable(key: &str) -> Result<(String, SecretString), String> {
    let value = own_variable(key).ok_or("the environment has no variable of this name")?;
    Ok((key.to_owned(), value))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl RequestArgs {
    /// The request that the flags make.
    pub(super) fn request(&self) -> LinkRequest {
        LinkRequest {
            repository: self.repository.clone(),
            branch: self.branch.clone(),
            site: SiteRequest {
                id: self.site_id.clone(),
                relink: self.relink,
                name: self.site.clone(),
                team: self.team.clone(),
            },
            build: BuildSettings {
                command: self.command.clone(),
                publish: self.publish.clone(),
                base: self.base.clone(),
                functions: self.functions.clone(),
                package_path: self.package_path.clone(),
            },
            access: self
                .installation_id
                .map_or(AccessMode::DeployKey, AccessMode::InstallationId),
            env: self.environment(),
            verify: self.verify,
            connections: ConnectionNames {
                netlify: self.netlify.clone(),
                provider: self.provider.clone(),
            },
            reference: self.reference.clone(),
            labels: BTreeMap::from_iter(self.labels.iter().cloned()),
            ..LinkRequest::default()
        }
    }

    fn environment(&self) -> Environment {
        let open = self.env.iter();
        let open = open.map(|(name, value)| (name, value.as_str().into(), false));
        let secret = self.secret_env.iter();
        let secret = secret.map(|(name, value)| (name, value.clone(), true));
        let variable = |(name, value, secret): (&String, SecretString, bool)| {
            let settings = EnvSettings {
                secret,
                ..EnvSettings::default()
            };
            (name.clone(), EnvVariable { value, settings })
        };
        open.chain(secret).map(variable).collect()
    }
}

pub(super) async fn run(args: LinkArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let link = client.create_link(&args.request.request()).await?;
    if !args.wait.wait {
        return accepted(&link, output);
    }
    if output == Output::Human {
        eprintln!("Link {} is accepted.", link.summary.id);
    }
    let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
    to_live(&link, ending, output)
}

/// Tells that the service has taken a link on and where to look.
pub(super) fn accepted(link: &Link, output: Output) -> anyhow::Result<ExitCode> {
    let (id, status) = (&link.summary.id, link.summary.status);
    print(output, &format!("{id}  {status}"), link)?;
    if output == Output::Human {
        eprintln!("Watch it with `linkbroker status {id} --wait`.");
    }
    Ok(Exit::Done.into())
}

/// Tells how a link ended that was to become live: one that somebody took back meanwhile did not.
pub(super) fn to_live(link: &Link, ending: Ending, output: Output) -> anyhow::Result<ExitCode> {
    let exit = conclude(link, ending, output)?;
    match link.summary.status.is_over() {
        true => Ok(Exit::Error.into()),
        false => Ok(exit.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_variables_are_pairs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err());
    }
}
