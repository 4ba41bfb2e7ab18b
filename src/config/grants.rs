//! The operator's file of grants: which tenant may use which installation of Netlify's GitHub App.

use std::path::Path;

use serde::Deserialize;

use super::problems::Problems;
use crate::link::grant::{Grant, Grants, is_pattern};

const SETTING: &str = "LINKBROKER_GRANTS";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    grant: Vec<Grant>,
}

/// The grants of the file; none without one.
pub(super) fn read_grants(path: Option<&Path>, problems: &mut Problems) -> Grants {
    let file: Option<File> = path.and_then(|path| problems.toml_file(SETTING, path));
    let grants = file.map(|file| file.grant).unwrap_or_default();
    for (at, grant) in grants.iter().enumerate() {
        let place = format!("{SETTING} [[grant]] {}", at + 1);
        check(grant, &place, problems);
    }
    Grants(grants)
}

fn check(grant: &Grant, place: &str, problems: &mut Problems) {
    if grant.tenant.is_empty() || grant.team.is_empty() || grant.repositories.is_empty() {
        problems.add(
            place,
            "it names no tenant, no team or no repository",
            "Name all three: a grant without one of them would grant nothing.",
        );
    }
    for pattern in grant
        .repositories
        .iter()
        .filter(|pattern| !is_pattern(pattern))
    {
        problems.add(
            place,
            format!("`{pattern}` names no repositories"),
            "Write host, owner and name, e.g. github.com/acme/docs, or github.com/acme/* for all of the owner.",
        );
    }
}
