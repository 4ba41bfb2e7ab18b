//! `linkbroker token`: makes access tokens for a server in developer mode.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::duration::duration;
use super::{Output, print};
use crate::api::caller::{Scope, Tenant};
use crate::config::{DataArgs, data_dir};
use crate::issuer::DevIssuer;

/// The longest life of a token: 30 days.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whose links a developer works with who names no tenant.
pub const DEV_TENANT: &str = "dev";
/// Who a developer is who does not say so.
pub const DEV_SUBJECT: &str = "developer";

/// Makes an access token for a server in developer mode.
///
/// The token is signed with the key in the data folder, which `linkbroker serve --dev` trusts.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose links the bearer works with.
    #[arg(long, default_value = DEV_TENANT)]
    tenant: Tenant,

    /// Who the bearer is.
    #[arg(long, default_value = DEV_SUBJECT)]
    subject: String,

    /// What the bearer may do (links:read, links:write, connections:read, connections:write, audit:read); repeat it for more. All when not set.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// How long the token is good for: a number and s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = life)]
    ttl: Duration,

    /// Instead of a token, print the public keys (a JWKS) that it is checked with. With them in LINKBROKER_ISSUERS also a server that is not in developer mode can be tried out.
    #[arg(long, conflicts_with_all = ["tenant", "subject", "scopes", "ttl"])]
    jwks: bool,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(args: &TokenArgs, output: Output) -> anyhow::Result<ExitCode> {
    let issuer = DevIssuer::open(&data_dir(&args.data))?;
    if args.jwks {
        let keys = issuer.jwks();
        print(output, &serde_json::to_string_pretty(&keys)?, &keys)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scopes = match args.scopes.as_slice() {
        [] => Scope::ALL,
        some => some,
    };
    let token = issuer.mint(&args.tenant, &args.subject, scopes, args.ttl)?;
    let token = token.expose_secret();
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    let value = json!({
        "token": token,
        "tenant": args.tenant,
        "subject": args.subject,
        "scopes": names,
        "expires_in_seconds": args.ttl.as_secs(),
    });
    print(output, token, &value)?;
    Ok(ExitCode::SUCCESS)
}

fn life(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        life if life <= LONGEST_LIFE && !life.is_zero() => Ok(life),
        _ => Err("from 1s to 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_read() {
        assert_eq!(life("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(life("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(life("30d"), Ok(LONGEST_LIFE));
        for bad in ["1", "0s", "31d"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
