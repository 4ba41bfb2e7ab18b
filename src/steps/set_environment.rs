//! Step `set_environment`: the site gets its environment variables before the first build.

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::{
        environment::EnvVariable,
        facts::{Fact, Origin, SetVariable, Site},
        failure::FailureCode,
        resource::ResourceKind,
    },
    netlify::environment::{self, Variable},
    upstream::UpstreamError,
};

/// All variables are there, as asked. Netlify does not show a secret's value, so that only one that was changed since
/// the interrupted try began is taken for ours.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let there = environment::list(cx.netlify, cx.site()?).await?;
    let is_set = |(name, asked): (&String, &EnvVariable)| {
        let found = there.iter().find(|found| found.name == *name);
        found.is_some_and(|found| {
            found.looks_like(asked) && (!found.is_secret() || is_of_this_try(cx, found))
        })
    };
    let all = cx.environment.iter().all(is_set);
    Ok(all.then(|| Fact::Environment(what_was_set(cx, &there))))
}

fn is_of_this_try(cx: &StepContext<'_>, found: &Variable) -> bool {
    cx.origin_at_netlify(found.changed_at()) == Origin::Made
}

/// Sets them. Which ones the site has is known from when it was taken, or not at all of one that we made; when that is not
/// so any more, it is looked up.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let site = cx.site()?;
    match set(cx, site, variables_before(cx)).await {
        Ok(()) => Ok(Fact::Environment(what_was_set(cx, &[]))),
        Err(error) if error.code == FailureCode::EnvVariableExists || error.is_missing() => {
            let there = environment::list(cx.netlify, site).await?;
            let names: Vec<_> = there.iter().map(|found| found.name.clone()).collect();
            set(cx, site, &names).await?;
            Ok(Fact::Environment(what_was_set(cx, &there)))
        }
        Err(error) => Err(error.into()),
    }
}

fn variables_before<'a>(cx: &'a StepContext<'_>) -> &'a [String] {
    let before = cx.facts.site_before.as_ref();
    before.map_or(&[], |before| &before.variables)
}

/// Replacing may be repeated, making may not: so the one call that makes comes last.
async fn set(cx: &StepContext<'_>, site: &Site, there: &[String]) -> Result<(), UpstreamError> {
    let (replaced, made): (Vec<_>, Vec<_>) = cx
        .environment
        .iter()
        .partition(|(name, _)| there.contains(name));
    for (name, variable) in replaced {
        environment::replace(cx.netlify, site, name, variable).await?;
    }
    match made.is_empty() {
        true => Ok(()),
        false => environment::create(cx.netlify, site, &made).await,
    }
}

/// `there` is what a look has found before the last writing: what the site did not have when it was taken, an interrupted
/// try of ours has made, or somebody else meanwhile.
fn what_was_set(cx: &StepContext<'_>, there: &[Variable]) -> Vec<SetVariable> {
    let before = variables_before(cx);
    let origin = |name: &String| match there.iter().find(|found| found.name == *name) {
        _ if before.contains(name) => Origin::Found,
        Some(found) => cx.origin_at_netlify(found.changed_at()),
        None => Origin::Made,
    };
    let names = cx.environment.keys();
    let set = names.map(|name| SetVariable {
        name: name.clone(),
        origin: origin(name),
    });
    set.collect()
}

/// Takes the variables that we made off a site that stays. One that goes takes them along.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let mut receipts = Vec::new();
    let Some(site) = cx.facts.site.as_ref().filter(|site| cx.stays(site)) else {
        return Ok(receipts);
    };
    for SetVariable { name, .. } in &cx.facts.environment {
        let delete = environment::delete(cx.netlify, site, name);
        receipts.extend(remove(cx, ResourceKind::EnvVariable, name, delete).await?);
    }
    Ok(receipts)
}
