//! Where a request differs from a link that exists: a link's fields are fixed when it is accepted, but for its labels and
//! for what becomes of drift.

use super::request::{ConnectionNames, FieldError, LinkRequest, LinkSpec};

const FIXED: &str =
    "differs from the link, where it is fixed: leave it as it is, or unlink the link first";

/// The fields that ask for another link than this one. What the request leaves to us (the site's name,
/// the connections) fits whatever was chosen when the link was made. Whether the values of the environment variables are the
/// same is known to whoever can open them.
pub fn differences(
    asked: &LinkRequest,
    spec: &LinkSpec,
    link: &LinkSpec,
    connections: &ConnectionNames,
    has_same_values: bool,
) -> Vec<FieldError> {
    let is_other =
        |asked: &Option<String>, known: &Option<String>| asked.is_some() && asked != known;
    let is_other_site = asked
        .site
        .name
        .as_ref()
        .is_some_and(|name| *name != link.site.name);
    let is_other_repository = spec.host != link.host || !spec.path.eq_ignore_ascii_case(&link.path);
    let names = &asked.connections;
    let fields = [
        ("/repository", is_other_repository),
        ("/branch", spec.branch != link.branch),
        ("/site/name", is_other_site),
        ("/site/id", spec.site.id != link.site.id),
        ("/site/relink", spec.site.relink != link.site.relink),
        ("/site/team", spec.site.team != link.site.team),
        ("/build/command", spec.build.command != link.build.command),
        ("/build/publish", spec.build.publish != link.build.publish),
        ("/build/base", spec.build.base != link.build.base),
        (
            "/build/functions",
            spec.build.functions != link.build.functions,
        ),
        (
            "/build/package_path",
            spec.build.package_path != link.build.package_path,
        ),
        ("/env", spec.env != link.env || !has_same_values),
        ("/access", spec.access != link.access),
        ("/verify", spec.verify != link.verify),
        (
            "/allowed_branches",
            spec.allowed_branches != link.allowed_branches,
        ),
        (
            "/connections/netlify",
            is_other(&names.netlify, &connections.netlify),
        ),
        (
            "/connections/provider",
            is_other(&names.provider, &connections.provider),
        ),
    ];
    let differing = fields.into_iter().filter(|(_, differs)| *differs);
    let error = |(pointer, _): (&str, bool)| FieldError {
        pointer: pointer.to_owned(),
        detail: FIXED.to_owned(),
    };
    differing.map(error).collect()
}
