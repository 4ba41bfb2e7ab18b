//! Waits for a link to come to rest, and shows how it goes on.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::duration::duration;
use super::exit::Exit;
use super::progress::Progress;
use super::{Output, print, show};
use crate::api::links::view::Link;

/// How long the service may be away while somebody waits: time for a restart.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Pause before a service that was away is asked again.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Whether to wait, and how long.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until the link comes to rest, and show how it goes on. Ctrl-C stops the waiting alone.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait: a number and s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "wait", value_parser = duration)]
    pub timeout: Duration,
}

/// How the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The link came to rest.
    Settled,
    /// The time is over.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
}

/// Waits for a link to come to rest; the link as it was seen last.
///
/// # Errors
/// When the service says no, or is away for long.
pub async fn watch(
    client: &Client,
    mut link: Link,
    timeout: Duration,
    output: Output,
) -> anyhow::Result<(Link, Ending)> {
    if link.summary.poll_after_ms.is_none() {
        return Ok((link, Ending::Settled));
    }
    let mut progress = Progress::new(output);
    progress.show(&link);
    let ending = tokio::select! {
        settled = tokio::time::timeout(timeout, follow(client, &mut link, &mut progress)) => match settled {
            Ok(done) => done.map(|()| Ending::Settled)?,
            Err(_) => Ending::TimedOut,
        },
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Ending::Interrupted)?,
    };
    Ok((link, ending))
}

async fn follow(client: &Client, link: &mut Link, progress: &mut Progress) -> anyhow::Result<()> {
    let mut heard = Instant::now();
    while let Some(pause) = link.summary.poll_after_ms {
        let asked = Instant::now();
        let summary = &link.summary;
        match client.link_after(&summary.id, summary.version).await {
            Ok(news) => {
                heard = Instant::now();
                let pause = Duration::from_millis(pause.into());
                match news {
                    Some(news) => {
                        *link = news;
                        progress.show(link);
                    }
                    // A service that drains does not let its callers wait.
                    None if asked.elapsed() < pause => tokio::time::sleep(pause).await,
                    None => {}
                }
            }
            Err(error) if error.is_passing() && heard.elapsed() < AWAY_MAX => {
                progress.tell(&format!("{error}; asking again"));
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            Err(error) => {
                let id = &link.summary.id;
                return Err(error).with_context(|| format!("{id} goes on, but cannot be watched"));
            }
        }
    }
    Ok(())
}

/// Prints the link that was waited for, and tells how to go on when it has not come to rest.
///
/// # Errors
/// When standard output cannot be written.
pub fn conclude(link: &Link, ending: Ending, output: Output) -> anyhow::Result<Exit> {
    let status = link.summary.status;
    match (ending, output) {
        (Ending::Settled, _) => print(output, &show::outcome(link), link)?,
        (_, Output::Json) => print(output, "", link)?,
        (_, Output::Human) => {}
    }
    if ending == Ending::Settled {
        return Ok(Exit::of_link(status));
    }
    let id = &link.summary.id;
    let (what, exit) = match ending {
        Ending::TimedOut => ("The time is over", Exit::TimedOut),
        _ => ("Stopped watching", Exit::Interrupted),
    };
    eprintln!("{what}; the link is `{status}` and goes on.");
    eprintln!("  watch it again  linkbroker status {id} --wait");
    eprintln!("  take it back    linkbroker unlink {id}");
    Ok(exit)
}
