//! What the reads at Netlify say of the link.

use super::{Intended, Seen, team_of};
use crate::{
    link::{
        facts::Repository,
        failure::FailureCode,
        preflight::{Finding, Topic},
    },
    netlify::{
        accounts::{Account, BuildQueue},
        sites::Site,
    },
    steps::create_site,
};

/// What people may be in a team that makes sites; others (`Reviewer`, `Content Editor`, `Billing Admin`, …) do less.
const MAKERS: [&str; 3] = ["Owner", "Developer", "Collaborator"];
/// Words in the names of plans that build whoever pushes, and of those that want to know the pusher.
const OPEN_PLANS: [&str; 3] = ["pro", "business", "enterprise"];
const STRICT_PLANS: [&str; 3] = ["free", "starter", "personal"];

const UNREAD: &str = "The team could not be read.";
const NO_REPOSITORY: &str = "The repository could not be read.";

pub(super) fn findings(link: &Intended<'_>, seen: &Seen) -> [Finding; 6] {
    let teams = seen.teams.as_deref().unwrap_or_default();
    let site = seen.site.as_ref().ok().and_then(Option::as_ref);
    let team = team_of(link, site, teams);
    let repository = seen.repository.as_ref().ok();
    [
        credential(seen),
        self::team(link, seen, team),
        plan(seen, repository, team),
        contributors(link, seen, repository, team),
        builds(seen, team),
        self::site(link, seen),
    ]
}

fn credential(seen: &Seen) -> Finding {
    match &seen.user {
        Ok(user) => {
            let name = user.full_name.as_deref().filter(|name| !name.is_empty());
            let name = name.unwrap_or(&user.id);
            Topic::NetlifyCredential.pass(format!("The credential is good and belongs to {name}."))
        }
        Err(failure) => Topic::NetlifyCredential.unread(failure),
    }
}

fn team(link: &Intended<'_>, seen: &Seen, team: Option<&Account>) -> Finding {
    let topic = Topic::Team;
    let teams = match &seen.teams {
        Ok(teams) => teams,
        // Told with the credential.
        Err(failure) if failure.code == FailureCode::CredentialRefused => {
            return topic.unknown(UNREAD);
        }
        Err(failure) => return topic.unread(failure),
    };
    match (team, &link.spec.site.team) {
        (Some(team), _) => role(team),
        (None, Some(slug)) => {
            let detail = format!("Netlify knows no team `{slug}` of this credential.");
            topic.fail(FailureCode::TeamNotFound, detail)
        }
        (None, None) if link.spec.site.id.is_some() => topic.unknown("The site could not be read."),
        (None, None) if teams.is_empty() => {
            let detail = "The credential belongs to no team.";
            topic.fail(FailureCode::TeamNotFound, detail)
        }
        (None, None) => {
            let slugs: Vec<_> = teams.iter().map(|team| team.slug.as_str()).collect();
            let detail = format!(
                "The credential belongs to {}; Netlify takes the person's own choice unless `site.team` names one.",
                slugs.join(", ")
            );
            topic.warn(None, detail)
        }
    }
}

fn role(team: &Account) -> Finding {
    let slug = &team.slug;
    match team.role.as_deref() {
        Some(role) if !MAKERS.contains(&role) => {
            let detail =
                format!("The credential's person is {role} in `{slug}`, and may not make sites.");
            Topic::Team.warn(FailureCode::NetlifyForbidden, detail)
        }
        _ => Topic::Team.pass(format!("The team is `{slug}`.")),
    }
}

/// Netlify wants a paid plan for private repositories that belong to an organisation.
fn plan(seen: &Seen, repository: Option<&Repository>, team: Option<&Account>) -> Finding {
    let topic = Topic::Plan;
    let Some(repository) = repository else {
        return topic.unknown(NO_REPOSITORY);
    };
    let owner = repository.path.split('/').next().unwrap_or_default();
    let is_own = |login: &str| login.eq_ignore_ascii_case(owner);
    if !repository.private {
        return topic.pass("The repository is public: any plan builds it.");
    }
    if seen.identity.as_ref().is_ok_and(|it| is_own(&it.login)) {
        return topic.pass("The repository belongs to a person: any plan builds it.");
    }
    match team.and_then(Account::builds_private_organisations) {
        Some(true) => topic.pass("The plan builds private repositories of organisations."),
        Some(false) => {
            let detail = format!(
                "The team's plan does not build private repositories of organisations, which `{}` may be.",
                repository.path
            );
            topic.warn(FailureCode::NetlifyForbidden, detail)
        }
        None => topic.unknown("Netlify does not say what the team's plan builds."),
    }
}

/// A link by deploy key gives Netlify no identity to compare a pusher with, but the accounts that its members connected.
fn contributors(
    link: &Intended<'_>,
    seen: &Seen,
    repository: Option<&Repository>,
    team: Option<&Account>,
) -> Finding {
    let (topic, provider) = (Topic::Contributors, link.provider_kind);
    match repository {
        None => return topic.unknown(NO_REPOSITORY),
        Some(found) if !found.private => {
            return topic.pass("Anybody's pushes to a public repository are built.");
        }
        Some(_) => {}
    }
    let connected = seen
        .user
        .as_ref()
        .ok()
        .and_then(|user| user.connected_accounts.as_ref());
    let knows = |name: &str| {
        connected.is_some_and(|accounts| accounts.get(name).is_some_and(|login| !login.is_null()))
    };
    let plan = team
        .and_then(|team| team.type_name.as_deref())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_one_of = |words: [&str; 3]| words.iter().any(|word| plan.contains(word));
    if knows(provider.as_str()) {
        topic.pass("The credential's person has connected an account of the provider at Netlify. Other people who push need the same on small plans.")
    } else if is_one_of(OPEN_PLANS) {
        topic.pass("The team's plan builds whoever pushes.")
    } else if is_one_of(STRICT_PLANS) && connected.is_some() {
        let detail = format!(
            "Pushes to private repositories are built for people whom Netlify knows, and the credential's person has connected no account of {provider}."
        );
        topic.warn(FailureCode::BuildBlocked, detail)
    } else {
        topic.unknown("Netlify does not say whether it wants to know who pushes.")
    }
}

fn builds(seen: &Seen, team: Option<&Account>) -> Finding {
    let topic = Topic::Builds;
    let Some(team) = team else {
        return topic.unknown(UNREAD);
    };
    let limits = team.exceeded_limits();
    if !limits.is_empty() {
        let detail = format!("The team has used up its {}.", limits.join(", "));
        return topic.warn(FailureCode::AccountCannotBuild, detail);
    }
    match &seen.queue {
        None => topic.unknown(UNREAD),
        Some(Err(failure)) => topic.unread(failure),
        Some(Ok(queue)) => queued(*queue),
    }
}

fn queued(queue: BuildQueue) -> Finding {
    let topic = Topic::Builds;
    match queue {
        BuildQueue {
            minutes_are_used_up: true,
            ..
        } => topic.warn(
            FailureCode::AccountCannotBuild,
            "The team's build minutes are used up.",
        ),
        BuildQueue { waiting: 0, .. } => topic.pass("No build of the team has to wait."),
        BuildQueue { waiting, .. } => topic.warn(
            None,
            format!("{waiting} builds of the team wait for a free slot."),
        ),
    }
}

fn site(link: &Intended<'_>, seen: &Seen) -> Finding {
    let (topic, name) = (Topic::Site, &link.spec.site.name);
    match (&seen.site, &link.spec.site.id) {
        // Told with the credential.
        (Err(failure), _) if failure.code == FailureCode::CredentialRefused => {
            topic.unknown("The site could not be read.")
        }
        (Err(failure), _) => topic.unread(failure),
        (Ok(Some(site)), Some(_)) => taken(link, seen.repository.as_ref().ok(), site),
        (Ok(Some(_)), None) => {
            let detail = format!("The credential has a site `{name}` already.");
            topic.fail(FailureCode::SiteNameTaken, detail)
        }
        (Ok(None), _) => topic.pass(format!(
            "The credential has no site `{name}`; one of a stranger's shows only when it is made."
        )),
    }
}

/// A site that is there: free, or free to be taken.
fn taken(link: &Intended<'_>, repository: Option<&Repository>, site: &Site) -> Finding {
    let (topic, name) = (Topic::Site, &site.name);
    if site.disabled == Some(true) {
        let detail = format!("Netlify has disabled the site `{name}`.");
        return topic.fail(FailureCode::AccountCannotBuild, detail);
    }
    let Some(path) = site.repository_path() else {
        return topic.pass(format!("No repository is attached to the site `{name}`."));
    };
    let Some(repository) = repository else {
        return topic.unknown(NO_REPOSITORY);
    };
    if let Err(failure) = create_site::free_for(link.spec, link.provider_kind, repository, site) {
        return topic.unread(&failure);
    }
    match create_site::is_attached_to(link.provider_kind, repository, site) {
        true => topic.pass(format!("The repository is attached to the site `{name}` already.")),
        false => topic.warn(None, format!(
            "The site `{name}` will be taken from `{path}`; Netlify deletes its deploy key, build hooks and notifications."
        )),
    }
}
