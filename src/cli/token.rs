//! `linkbroker token`: makes access tokens for a server in developer mode.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Output, print};
use crate::api::caller::{Scope, Tenant};
use crate::config::{DataArgs, data_dir};
use crate::issuer::DevIssuer;

/// The longest life of a token: 30 days.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Makes an access token for a server in developer mode.
///
/// The token is signed with the key in the data folder, which `linkbroker serve --dev` trusts.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose links the bearer works with.
    #[arg(long, default_value = "dev")]
    tenant: Tenant,

    /// Who the bearer is.
    #[arg(long, default_value = "developer")]
    subject: String,

    /// What the bearer may do (links:read, links:write, connections:read, connections:write, audit:read); repeat it for more. All when not set.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// How long the token is good for: a number and s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = life)]
    ttl: Duration,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(args: &TokenArgs, output: Output) -> anyhow::Result<ExitCode> {
    let issuer = DevIssuer::open(&data_dir(&args.data))?;
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
    let seconds = |unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(60 * 60),
        'd' => Some(24 * 60 * 60),
        _ => None,
    };
    let parsed = text.chars().last().and_then(|unit| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(number.checked_mul(seconds(unit)?)?))
    });
    match parsed {
        Some(life) if life <= LONGEST_LIFE && !life.is_zero() => Ok(life),
        Some(_) => Err("from 1s to 30d".to_owned()),
        None => Err("write it as 90s, 30m, 1h or 7d".to_owned()),
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
        for bad in [
            "",
            "h",
            "1",
            "1w",
            "-1h",
            "0s",
            "31d",
            "99999999999999999999d",
            "1é",
        ] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
