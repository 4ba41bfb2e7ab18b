//! The preflight: everything that reads tell of a link before it is made, as findings. Nothing is written.
//!
//! The reads go out in two rounds, those of a round at the same time: what needs the repository or the team to be known
//! comes second. Nine calls at GitHub and Netlify. What does not answer in time is unknown.

mod at_netlify;
mod at_provider;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{
    link::{
        facts::Repository,
        failure::{Failure, FailureCode},
        installation::Installation,
        preflight::{Finding, Topic},
        request::LinkSpec,
    },
    netlify::{
        self,
        accounts::{self, Account, BuildQueue, User},
        sites::{self, Site},
    },
    providers::{Identity, NETLIFY_APP, Provider, Webhooks},
    upstream::{Access, UpstreamError, UpstreamKind},
};

/// How long all reads may take: a person waits for them (what-users-want.md, 3.3).
const PATIENCE: Duration = Duration::from_secs(3);

/// The link that somebody thinks of.
pub struct Intended<'a> {
    /// What it would be.
    pub spec: &'a LinkSpec,
    /// Netlify.
    pub netlify: &'a Access,
    /// The git provider.
    pub provider: &'a dyn Provider,
    /// Which one it is.
    pub provider_kind: UpstreamKind,
    /// Whether the operator has a deploy key for it.
    pub has_standing_key: bool,
}

/// What a read said, or why it said nothing.
type Read<T> = Result<T, Failure>;

/// What was read. Reads that lean on one that failed were not sent.
struct Seen {
    identity: Read<Identity>,
    repository: Read<Repository>,
    takes_keys: Option<Read<Option<bool>>>,
    webhooks: Option<Read<Webhooks>>,
    installations: Option<Read<Option<Vec<Installation>>>>,
    user: Read<User>,
    teams: Read<Vec<Account>>,
    /// The site of the link's id or name, if the credential sees one.
    site: Read<Option<Site>>,
    queue: Option<Read<BuildQueue>>,
}

/// Reads what there is to read; one finding for each topic, in their order.
pub async fn preflight(link: &Intended<'_>) -> Vec<Finding> {
    let seen = Seen::of(link, Instant::now() + PATIENCE).await;
    let connections = Topic::Connections.pass("Both connections can be used.");
    std::iter::once(connections)
        .chain(at_provider::findings(link, &seen))
        .chain(at_netlify::findings(link, &seen))
        .collect()
}

impl Seen {
    async fn of(link: &Intended<'_>, until: Instant) -> Self {
        let provider = async {
            tokio::join!(
                read(until, link.provider.identity()),
                repository(link, until)
            )
        };
        let netlify = async {
            tokio::join!(
                read(until, accounts::current_user(link.netlify)),
                team_and_site(link, until)
            )
        };
        let (provider, netlify) = tokio::join!(provider, netlify);
        let (identity, (repository, placed)) = provider;
        let Placed {
            takes_keys,
            webhooks,
            installations,
        } = placed;
        let (user, (teams, site, queue)) = netlify;
        Self {
            identity,
            repository,
            takes_keys,
            webhooks,
            installations,
            user,
            teams,
            site,
            queue,
        }
    }
}

/// How Netlify would get at the repository: what was read of keys and webhooks, or of Netlify's app.
#[derive(Default)]
struct Placed {
    takes_keys: Option<Read<Option<bool>>>,
    webhooks: Option<Read<Webhooks>>,
    installations: Option<Read<Option<Vec<Installation>>>>,
}

/// The repository, then what the link would place there or lean on.
async fn repository(link: &Intended<'_>, until: Instant) -> (Read<Repository>, Placed) {
    let (provider, can) = (link.provider, link.provider.capabilities());
    let (path, branch) = (&link.spec.path, link.spec.branch.as_deref());
    let repository = match read(until, provider.resolve(path, branch)).await {
        Ok(repository) => repository,
        Err(failure) => return (Err(failure), Placed::default()),
    };
    if link.spec.access.installation_id().is_some() {
        let installations = provider.installations(&repository, NETLIFY_APP);
        let placed = Placed {
            installations: Some(read(until, installations).await),
            ..Placed::default()
        };
        return (Ok(repository), placed);
    }
    let url = netlify::webhook_url(link.netlify.instance(), link.provider_kind);
    let keys = when(
        can.installs_keys,
        read(until, provider.takes_keys(&repository)),
    );
    let webhooks = when(
        can.installs_webhooks && !can.site_has_own_webhook,
        read(until, provider.webhooks(&repository, url.as_str())),
    );
    let (takes_keys, webhooks) = tokio::join!(keys, webhooks);
    let placed = Placed {
        takes_keys,
        webhooks,
        installations: None,
    };
    (Ok(repository), placed)
}

/// Teams and site, then how busy the team is.
async fn team_and_site(
    link: &Intended<'_>,
    until: Instant,
) -> (
    Read<Vec<Account>>,
    Read<Option<Site>>,
    Option<Read<BuildQueue>>,
) {
    let site = async {
        match &link.spec.site.id {
            Some(id) => sites::get(link.netlify, id).await.map(Some),
            None => sites::find_by_name(link.netlify, &link.spec.site.name).await,
        }
    };
    let (teams, site) = tokio::join!(read(until, accounts::list(link.netlify)), read(until, site));
    let team = teams.as_ref().ok();
    let team = team.and_then(|teams| team_of(link, site.as_ref().ok()?.as_ref(), teams));
    let queue = match team {
        Some(team) => Some(read(until, accounts::build_queue(link.netlify, &team.id)).await),
        None => None,
    };
    (teams, site, queue)
}

/// The team that would have the site, where that can be told.
fn team_of<'a>(
    link: &Intended<'_>,
    site: Option<&Site>,
    teams: &'a [Account],
) -> Option<&'a Account> {
    let slug = match &link.spec.site.id {
        Some(_) => Some(site?.account_slug.as_deref()?),
        None => link.spec.site.team.as_deref(),
    };
    match (slug, teams) {
        (Some(slug), _) => teams.iter().find(|team| team.slug == slug),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

async fn read<T>(until: Instant, call: impl Future<Output = Result<T, UpstreamError>>) -> Read<T> {
    match timeout_at(until, call).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => {
            let detail = format!("No answer within {} s.", PATIENCE.as_secs());
            Err(Failure::new(FailureCode::UpstreamUnavailable, detail))
        }
    }
}

async fn when<T>(wanted: bool, read: impl Future<Output = T>) -> Option<T> {
    match wanted {
        true => Some(read.await),
        false => None,
    }
}
