//! What a caller asks for ([`LinkRequest`]) and what it becomes once checked ([`LinkSpec`]).
//!
//! After [`LinkRequest::check`] nobody checks a field again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, schema::Type},
};

use super::{
    access::{AccessMode, INSTALLATION_MAX},
    drift::DriftPolicy,
    environment::{self, EnvSettings, Environment},
    repository_ref::{RefError, RepositoryRef},
};
use crate::json_object;

/// Longest branch name that git hosts accept, in bytes.
const BRANCH_MAX: usize = 255;
/// Longest name of a site: a label of the domain name system.
const SITE_NAME_MAX: usize = 63;
const REF_MAX: usize = 200;
const LABELS_MAX: usize = 32;
const LABEL_MAX: usize = 63;
const SETTING_MAX: usize = 1024;
const ALLOWED_BRANCHES_MAX: usize = 50;

/// Which repository goes to which site. Everything but `repository` has a default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "repository": "https://github.com/acme/docs",
    "branch": "main",
    "site": {"name": "acme-docs", "team": "acme"},
    "build": {"command": "npm run build", "publish": "dist"},
    "connections": {"netlify": "acme-netlify", "provider": "acme-github"},
    "ref": "team-a/docs",
    "labels": {"portal": "backstage"}
}))]
pub struct LinkRequest {
    /// Address of the repository, as people paste it; without a password.
    pub repository: String,
    /// Branch to build for production. Default: the repository's own default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 255)]
    pub branch: Option<String>,
    /// The site to make, or the one that is there.
    #[serde(default, deserialize_with = "json_object::only")]
    pub site: SiteRequest,
    /// How Netlify builds, in the words of `netlify.toml`.
    #[serde(default, deserialize_with = "json_object::only")]
    pub build: BuildSettings,
    /// Environment variables of the site.
    #[serde(
        default,
        deserialize_with = "json_object::only",
        skip_serializing_if = "Environment::is_empty"
    )]
    #[schema(schema_with = environment::schema)]
    pub env: Environment,
    /// How Netlify gets at the repository.
    #[serde(default)]
    pub access: AccessMode,
    /// What has to be seen before the link says `live`.
    #[serde(default)]
    pub verify: Verify,
    /// Branches that Netlify deploys; an empty list means every branch. Default: the production branch alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50)]
    pub allowed_branches: Option<Vec<String>>,
    /// What becomes of drift, where the world is found to be other than the link left it. May be changed later, by
    /// `PATCH /links/{id}/drift` or `PUT /links/by-ref/{ref}`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Names of the connections to use. Default: the tenant's only one of that kind.
    #[serde(default, deserialize_with = "json_object::only")]
    pub connections: ConnectionNames,
    /// The caller's own name for the link, unique among the tenant's links that are not over.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^(?!\.{1,2}$)[^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub reference: Option<String>,
    /// The caller's own labels.
    #[serde(default)]
    #[schema(schema_with = labels_schema)]
    pub labels: BTreeMap<String, String>,
}

/// The limits of [`LinkRequest::check_names`], which attributes cannot say.
fn labels_schema() -> Object {
    let text = || {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(LABEL_MAX))
            .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*$"))
    };
    ObjectBuilder::new()
        .description(Some("The caller's own labels."))
        .max_properties(Some(LABELS_MAX))
        .property_names(Some(text().min_length(Some(1)).build()))
        .additional_properties(Some(text()))
        .build()
}

/// The site to make, by `name` and `team`; or the one that is there, by `id`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteRequest {
    /// Netlify's id of a site that is there. What the request says nothing about stays as it is; unlinking puts back
    /// what was there before, and never deletes the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub id: Option<String>,
    /// Whether a site that another repository is attached to may be taken from it. Netlify then deletes the site's
    /// deploy key, its build hooks and its notifications.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relink: bool,
    /// Name, unique across Netlify. Default: the repository's name and 13 random characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    pub name: Option<String>,
    /// Slug of the Netlify team. Default: the credential's only team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,100}$")]
    pub team: Option<String>,
}

/// How Netlify builds, in the words of `netlify.toml`; empty means that Netlify decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuildSettings {
    /// Command that builds the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub command: Option<String>,
    /// Folder that the build writes, relative to `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub publish: Option<String>,
    /// Folder in which the build runs, relative to the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub base: Option<String>,
    /// Folder of the serverless functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub functions: Option<String>,
    /// Folder of the package in a monorepo, relative to the repository: where Netlify looks for `netlify.toml` and
    /// detects the framework. Unlike `base` it does not change where the build runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub package_path: Option<String>,
}

impl BuildSettings {
    /// These settings, and where they say nothing, what was there before.
    #[must_use]
    pub fn over(&self, before: &Self) -> Self {
        let said =
            |new: &Option<String>, old: &Option<String>| new.as_ref().or(old.as_ref()).cloned();
        Self {
            command: said(&self.command, &before.command),
            publish: said(&self.publish, &before.publish),
            base: said(&self.base, &before.base),
            functions: said(&self.functions, &before.functions),
            package_path: said(&self.package_path, &before.package_path),
        }
    }
}

/// What has to be seen before the link says `live`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// A push event of the provider, replayed, starts a build.
    #[default]
    Push,
    /// The first build is deployed.
    Build,
}

/// Names of the connections to use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionNames {
    /// Connection to Netlify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9._-]{1,100}$")]
    pub netlify: Option<String>,
    /// Connection to the git provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9._-]{1,100}$")]
    pub provider: Option<String>,
}

/// A checked request with every default that is known at accept filled in; stored with the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// Host of the provider instance.
    pub host: String,
    /// Path as the caller wrote it, in the provider's own form: `OWNER/NAME`, `GROUP/SUBGROUP/NAME`,
    /// `ORGANISATION/PROJECT/NAME`.
    pub path: String,
    /// Where to clone it from; only where no API tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_url: Option<String>,
    /// Branch that the caller named.
    pub branch: Option<String>,
    /// Site to make; the name is fixed here, so that a lost answer can be looked up.
    pub site: SiteSpec,
    /// How Netlify builds.
    pub build: BuildSettings,
    /// Environment variables of the site, without their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvSettings>,
    /// How Netlify gets at the repository.
    pub access: AccessMode,
    /// What has to be seen before `live`.
    pub verify: Verify,
    /// Branches that Netlify deploys; absent means the production branch alone.
    pub allowed_branches: Option<Vec<String>>,
    /// What becomes of drift.
    #[serde(default)]
    pub drift: DriftPolicy,
}

/// The site of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSpec {
    /// Name, unique across Netlify; for a site that is there its id, by which no two links take the same one.
    pub name: String,
    /// Slug of the team; absent means the credential's only one.
    pub team: Option<String>,
    /// Netlify's id of a site that is there; absent means that it is to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it may be taken from another repository.
    #[serde(default)]
    pub relink: bool,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the request.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// Collects what is wrong, so that a caller learns everything at once.
#[derive(Debug, Default)]
pub(super) struct Check(Vec<FieldError>);

impl Check {
    pub(super) fn that(&mut self, holds: bool, pointer: &str, detail: &str) {
        if !holds {
            self.0.push(FieldError {
                pointer: pointer.to_owned(),
                detail: detail.to_owned(),
            });
        }
    }
}

impl LinkRequest {
    /// Checks every field and fixes the site's name. Which `repository` the address means depends on the
    /// configured providers, so that comes from outside.
    ///
    /// # Errors
    /// Everything that is wrong, each with a JSON pointer and what would be right.
    pub fn check(
        &self,
        repository: Result<&RepositoryRef, &RefError>,
    ) -> Result<LinkSpec, Vec<FieldError>> {
        let mut check = Check::default();
        let RepositoryRef { host, path } = repository.cloned().unwrap_or_else(|error| {
            check.that(false, "/repository", &error.to_string());
            RepositoryRef::default()
        });
        if let Some(branch) = &self.branch {
            check.that(is_branch(branch), "/branch", BRANCH_RULE);
        }
        self.check_site(&mut check);
        self.check_build(&mut check);
        environment::check(&self.env, &mut check);
        self.check_allowed_branches(&mut check);
        self.check_names(&mut check);
        self.check_connections(&mut check);
        self.check_access(&mut check);
        if !check.0.is_empty() {
            return Err(check.0);
        }
        let named = self.site.id.as_ref().or(self.site.name.as_ref()).cloned();
        let name = named.unwrap_or_else(|| derived_name(&path));
        Ok(LinkSpec {
            host,
            path,
            ssh_url: None,
            branch: self.branch.clone(),
            site: SiteSpec {
                name,
                team: self.site.team.clone(),
                id: self.site.id.clone(),
                relink: self.site.relink,
            },
            build: self.build.clone(),
            env: environment::settings(&self.env),
            access: self.access,
            verify: self.verify,
            allowed_branches: self.allowed_branches.clone(),
            drift: self.drift,
        })
    }

    fn check_site(&self, check: &mut Check) {
        if let Some(id) = &self.site.id {
            check.that(
                is_uuid(id),
                "/site/id",
                "use Netlify's id of the site, a UUID in lower case; its API shows it as `id`",
            );
            check.that(
                self.site.name.is_none() && self.site.team.is_none(),
                "/site",
                "leave out `name` and `team`, or `id`: a site is either there or to be made",
            );
        }
        check.that(
            self.site.id.is_some() || !self.site.relink,
            "/site/relink",
            "only a site that is there can be taken from another repository: name it in `id`",
        );
        if let Some(name) = &self.site.name {
            check.that(
                is_site_name(name),
                "/site/name",
                "use 1 to 63 lower-case letters, digits and '-', not at the ends",
            );
        }
        if let Some(team) = &self.site.team {
            check.that(
                is_slug(team),
                "/site/team",
                "use the team's slug as in its address on Netlify: letters, digits, '-' and '_', at most 100",
            );
        }
    }

    fn check_build(&self, check: &mut Check) {
        let build = &self.build;
        let folders = [
            ("/build/publish", &build.publish),
            ("/build/base", &build.base),
            ("/build/functions", &build.functions),
            ("/build/package_path", &build.package_path),
        ];
        for (pointer, folder) in folders {
            let Some(folder) = folder else { continue };
            check.that(
                is_folder(folder),
                pointer,
                "use a relative path inside the repository, without '..', at most 1024 bytes",
            );
        }
        if let Some(command) = &build.command {
            check.that(
                is_line(command, SETTING_MAX),
                "/build/command",
                "use one line of at most 1024 bytes",
            );
        }
    }

    fn check_allowed_branches(&self, check: &mut Check) {
        let Some(branches) = &self.allowed_branches else {
            return;
        };
        check.that(
            branches.len() <= ALLOWED_BRANCHES_MAX,
            "/allowed_branches",
            "name at most 50 branches",
        );
        for (at, branch) in branches.iter().enumerate() {
            check.that(
                is_branch(branch),
                &format!("/allowed_branches/{at}"),
                BRANCH_RULE,
            );
        }
        // Netlify then builds once and ignores every push (what-users-want.md, finding 3).
        if let Some(branch) = &self.branch {
            check.that(
                branches.is_empty() || branches.contains(branch),
                "/allowed_branches",
                "name the production branch too, or Netlify ignores pushes to it",
            );
        }
    }

    fn check_access(&self, check: &mut Check) {
        let Some(id) = self.access.installation_id() else {
            return;
        };
        check.that(
            (1..=INSTALLATION_MAX).contains(&id),
            "/access/installation_id",
            "use the number at the end of the address of the app's settings page",
        );
        check.that(
            self.site.id.is_none(),
            "/access/installation_id",
            "only a site that is to be made can be linked by an installation, which is granted for one team",
        );
        check.that(
            self.site.team.is_some() || self.site.id.is_some(),
            "/site/team",
            "name the team: an installation is granted for one",
        );
    }

    fn check_connections(&self, check: &mut Check) {
        let names = &self.connections;
        for (pointer, name) in [
            ("/connections/netlify", &names.netlify),
            ("/connections/provider", &names.provider),
        ] {
            let good = name.as_deref().is_none_or(is_connection_name);
            check.that(good, pointer, CONNECTION_NAME_RULE);
        }
    }

    fn check_names(&self, check: &mut Check) {
        if let Some(reference) = &self.reference {
            check.that(
                is_line(reference, REF_MAX) && !matches!(reference.as_str(), "" | "." | ".."),
                "/ref",
                "use one line of 1 to 200 bytes, other than `.` and `..`: it stands in addresses",
            );
        }
        check.that(
            self.labels.len() <= LABELS_MAX,
            "/labels",
            "use at most 32 labels",
        );
        for (key, value) in &self.labels {
            let pointer = format!("/labels/{}", pointer_part(key));
            let good = is_line(key, LABEL_MAX) && !key.is_empty() && is_line(value, LABEL_MAX);
            check.that(
                good,
                &pointer,
                "use keys and values of one line of at most 63 bytes",
            );
        }
    }
}

/// What [`is_connection_name`] asks for.
pub const CONNECTION_NAME_RULE: &str = "use 1 to 100 letters, digits, '.', '_' and '-'";

/// Whether a connection can have this name.
pub fn is_connection_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

const BRANCH_RULE: &str = "use a git branch name of at most 255 bytes, without blanks, '..', '~', '^', ':', '?', '*', '[' or '\\', not starting with '-' or '/', not ending in '/', '.' or '.lock'";

/// A name as a part of a JSON pointer (RFC 6901).
pub(super) fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The rules of `git check-ref-format --branch` that a name can break.
pub(super) fn is_branch(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    (1..=BRANCH_MAX).contains(&name.len())
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains("//")
        && name != "@"
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name
            .split('/')
            .any(|part| part.starts_with('.') || part.ends_with(".lock"))
}

fn is_site_name(name: &str) -> bool {
    (1..=SITE_NAME_MAX).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

fn is_slug(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn is_line(text: &str, max: usize) -> bool {
    text.len() <= max && !text.contains(char::is_control)
}

fn is_folder(path: &str) -> bool {
    is_line(path, SETTING_MAX)
        && !path.starts_with('/')
        && !path.split('/').any(|part| part == "..")
}

/// A name nobody else has: 64 random bits (limits.md C2), readable at the front.
fn derived_name(path: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // Version and variant bits are fixed; mixing the halves leaves 64 free ones.
    let mut bits = high.rotate_left(17) ^ low;
    let tail: String = (0..13)
        .map(|_| {
            let letter = ALPHABET[(bits & 31) as usize] as char;
            bits >>= 5;
            letter
        })
        .collect();
    let repository = path.rsplit('/').next().unwrap_or_default();
    let front: String = repository
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(SITE_NAME_MAX - 14)
        .collect();
    let front = front.trim_matches('-');
    match front {
        "" => format!("site-{tail}"),
        _ => format!("{front}-{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_name_is_a_site_name_and_never_the_same() {
        for path in [
            "acme/docs",
            "acme/.github",
            "acme/A_Very.Long-Name",
            &format!("a/{}", "x".repeat(100)),
        ] {
            let (one, other) = (derived_name(path), derived_name(path));
            assert!(is_site_name(&one), "{one}");
            assert_ne!(one, other);
        }
    }

    #[test]
    fn objects_are_not_read_from_arrays() {
        let read = |json: &str| serde_json::from_str::<LinkRequest>(json).is_ok();
        assert!(read(r#"{"repository": "x", "site": {"name": "docs"}}"#));
        for field in ["site", "build", "connections"] {
            let json = format!(r#"{{"repository": "x", "{field}": [null, null]}}"#);
            assert!(!read(&json), "{json}");
        }
    }

    #[test]
    fn branch_names_follow_git() {
        for good in ["main", "feature/x", "release-1.2", "ünïcode", "a@b"] {
            assert!(is_branch(good), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a b", "x.lock", "x/", "/x", "a~1", "@", "a@{1}", ".x", "a//b",
        ] {
            assert!(!is_branch(bad), "{bad}");
        }
    }
}
