//! What the vendors have once a link is made, and once it is gone: exactly one of each, and nothing left.

use std::iter::zip;

use linkbroker_sandbox::Provider;
use serde_json::Value;

use super::batch::told;
use super::variant::{Asks, Stage, Subject, Variant};
use crate::conformance::counts::expected;
use crate::world::{By, text};

/// Which of a link's ends it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Linking,
    Unlinking,
}

/// How many of a kind there are more for one link once it is made, and once it is gone; how many were made ever.
struct Expected {
    kind: &'static str,
    made: u64,
    linked: u64,
    left: u64,
}

fn per_link(variant: &Variant) -> [Expected; 4] {
    expected(&variant.way).map(|(kind, made, left)| {
        let linked = made;
        let usual = Expected {
            kind,
            made,
            linked,
            left,
        };
        match (variant.asks, kind) {
            // Somebody made it before.
            (Asks::ExistingSite | Asks::TakenSite, "sites") => Expected { left: 1, ..usual },
            // Netlify deletes the key of the repository that the site is taken from.
            (Asks::TakenSite, "deploy_keys") => Expected { made: 2, ..usual },
            (Asks::Installation, "deploy_keys" | "installed_keys" | "webhooks") => Expected {
                made: 0,
                linked: 0,
                left: 0,
                ..usual
            },
            // One stands for all links, from the start.
            _ if kind == "deploy_keys" && variant.way.key == By::Operator => Expected {
                made: 0,
                linked: 0,
                left: 0,
                ..usual
            },
            _ => usual,
        }
    })
}

/// The link's own objects.
pub fn check(stage: &Stage, subject: &Subject, link: &Value, after: After) -> Result<(), String> {
    let end = match after {
        After::Linking => "live",
        After::Unlinking => "unlinked",
    };
    if link["status"] != end {
        return Err(format!("not {end}: {}", told(link)));
    }
    let state = stage.world.state();
    let sites = named(&state["netlify"]["sites"], &subject.site);
    let mut found = vec![("sites", sites.len() as u64)];
    if subject.way.provider != Provider::Plain {
        let repository = subject.way.repository(&stage.world);
        let count = |part: &str| repository[part].as_array().map_or(0, Vec::len) as u64;
        found.push(("webhooks", count("hooks")));
        // Azure's stand on accounts.
        if subject.way.provider != Provider::AzureDevops {
            found.push(("installed_keys", count("keys")));
        }
    }
    for (kind, count) in found {
        let expected = per_link(stage.variant)
            .into_iter()
            .find(|it| it.kind == kind);
        let wanted = expected.expect("a known kind").after(after);
        if count != wanted {
            return Err(format!("{count} {kind} instead of {wanted}"));
        }
    }
    match after {
        After::Linking => builds(stage, &state, &subject.site),
        After::Unlinking => Ok(()),
    }
}

fn named<'a>(list: &'a Value, name: &str) -> Vec<&'a Value> {
    let list = list.as_array().into_iter().flatten();
    list.filter(|it| it["name"] == name).collect()
}

/// Exactly one first build, and no more than one build of a commit by pushes: the replayed push builds what the first one has
/// built, to its end when nobody lives to cancel it.
fn builds(stage: &Stage, state: &Value, site: &str) -> Result<(), String> {
    let deploys = named(&state["netlify"]["deploys"], site);
    let of = |source: &str| {
        let of_source = deploys.iter().filter(|it| it["deploy_source"] == source);
        let ended = of_source.clone().filter(|it| it["state"] == "ready");
        let commits: Vec<_> = ended.map(|it| text(&it["commit_ref"])).collect();
        (of_source.count(), commits)
    };
    let (all, first) = of("api");
    // Whose site it was had built as well.
    let others = usize::from(stage.variant.asks == Asks::TakenSite);
    let (_, mut pushed) = of("git");
    let pushes = pushed.len();
    pushed.sort();
    pushed.dedup();
    match (all - others, first.len()) == (1, 1) && pushed.len() == pushes {
        true => Ok(()),
        false => Err(format!(
            "{} first builds, {} of them to the end; {pushes} builds of {} pushed commits",
            all - others,
            first.len(),
            pushed.len()
        )),
    }
}

impl Expected {
    fn after(&self, after: After) -> u64 {
        match after {
            After::Linking => self.linked,
            After::Unlinking => self.left,
        }
    }
}

/// What was ever made and what is there, by kind.
pub struct Totals(Vec<(u64, u64)>);

impl Totals {
    /// As they are. Unused keys that serve the next link do not count as there.
    pub async fn of(stage: &Stage) -> Self {
        let stock = stocked(stage).await;
        let count = |expected: &Expected| {
            let (made, there) = stage.world.count(expected.kind);
            match expected.kind {
                "deploy_keys" => (made, there - stock),
                _ => (made, there),
            }
        };
        Self(per_link(stage.variant).iter().map(count).collect())
    }

    /// Compares what so many links have added; and nothing was said that a vendor's description forbids.
    pub async fn check(&self, stage: &Stage, links: usize, after: After) -> Result<(), String> {
        let links = links as u64;
        let now = Self::of(stage).await;
        for (expected, (before, now)) in zip(per_link(stage.variant), zip(&self.0, &now.0)) {
            let added = (now.0 - before.0, now.1 - before.1);
            let wanted = (expected.made * links, expected.after(after) * links);
            // One of the four subscriptions that is refused takes the others back, and all are made again.
            let azure_set =
                stage.variant.way.provider == Provider::AzureDevops && expected.kind == "webhooks";
            let again = azure_set && added.0 > wanted.0;
            if added != wanted && !(again && added.1 == wanted.1) {
                let kind = expected.kind;
                return Err(format!(
                    "{kind} of all {links} links (made, there): {added:?} instead of {wanted:?}"
                ));
            }
        }
        match stage.world.sandbox.violations().as_slice() {
            [] => Ok(()),
            forbidden => Err(format!("{forbidden:?}")),
        }
    }
}

/// Unused keys that serve the next link.
async fn stocked(stage: &Stage) -> u64 {
    let mut database = stage.world.database.connection().await;
    let count = "select count(*) from resources where kind = 'deploy_key' and state = 'stock'";
    let count: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut database)
        .await
        .expect("the ledger");
    count.unsigned_abs()
}
