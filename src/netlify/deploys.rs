//! Deploys: what a build makes, and how it ended.

use serde::Deserialize;

use super::present;
use crate::{
    link::{
        builds::{BuildOutcome, SeenBuild},
        facts,
        failure::FailureCode,
    },
    upstream::{Access, Call, UpstreamError},
};

/// Longest log that is read, in bytes: the end of it, which matters, comes last.
pub const LOG_BYTES: usize = 16 * 1024 * 1024;

/// A deploy as Netlify describes it.
#[derive(Debug, Clone, Deserialize)]
struct Deploy {
    id: String,
    build_id: Option<String>,
    state: String,
    context: Option<String>,
    branch: Option<String>,
    commit_ref: Option<String>,
    error_message: Option<String>,
    deploy_ssl_url: Option<String>,
    deploy_url: Option<String>,
    created_at: Option<String>,
    published_at: Option<String>,
    deploy_time: Option<f64>,
    title: Option<String>,
    deploy_source: Option<String>,
    skipped: Option<bool>,
    strict_contributor_verification_failure: Option<bool>,
}

impl From<Deploy> for facts::Deploy {
    fn from(deploy: Deploy) -> Self {
        Self {
            id: deploy.id,
            build_id: present(deploy.build_id),
            state: deploy.state,
            context: present(deploy.context),
            branch: present(deploy.branch),
            commit_ref: present(deploy.commit_ref),
            error_message: present(deploy.error_message),
            url: present(deploy.deploy_ssl_url).or(present(deploy.deploy_url)),
            created_at: present(deploy.created_at),
            published_at: present(deploy.published_at),
            deploy_time: deploy.deploy_time.map(|seconds| seconds as i64),
            title: present(deploy.title),
            source: present(deploy.deploy_source),
            skipped: deploy.skipped == Some(true),
            unknown_contributor: deploy.strict_contributor_verification_failure == Some(true),
        }
    }
}

/// One deploy.
///
/// # Errors
/// As [`Access::send`]; [`UpstreamError::is_missing`] for an unknown id.
pub async fn get(access: &Access, id: &str) -> Result<facts::Deploy, UpstreamError> {
    let answer = access.send(Call::get(["deploys", id])).await?;
    answer.json::<Deploy>().map(Into::into)
}

/// The site's latest deploys (at most 100), newest first. The list may lag behind the truth by minutes.
///
/// # Errors
/// `site_gone`.
pub async fn list_for_site(
    access: &Access,
    site_id: &str,
) -> Result<Vec<facts::Deploy>, UpstreamError> {
    let call = Call::get(["sites", site_id, "deploys"]).query("per_page", "100");
    let answer = access.send(call).await.map_err(|error| {
        let detail = format!("Netlify has no site with the id {site_id} for this credential.");
        error.if_missing(FailureCode::SiteGone, detail)
    })?;
    let deploys: Vec<Deploy> = answer.json()?;
    Ok(deploys.into_iter().map(Into::into).collect())
}

/// Cancels a deploy that is still going on; returns it as it is then. One that is over is left as it is.
///
/// # Errors
/// As [`Access::send`].
pub async fn cancel(access: &Access, id: &str) -> Result<facts::Deploy, UpstreamError> {
    match access.send(Call::post(["deploys", id, "cancel"])).await {
        Ok(answer) => answer.json::<Deploy>().map(Into::into),
        // Finished meanwhile: Netlify says 404 or 422. Only the deploy itself tells; if it is not there, this fails too.
        Err(error) if error.is_missing() || error.code == FailureCode::RequestRefused => {
            get(access, id).await
        }
        Err(error) => Err(error),
    }
}

/// The last `lines` lines of the build's log, oldest first; empty when no build ever ran.
///
/// The address is undocumented but what Netlify's CLI uses.
///
/// # Errors
/// As [`Access::send`]; also for logs of more than [`LOG_BYTES`].
pub async fn log_tail(
    access: &Access,
    id: &str,
    lines: usize,
) -> Result<Vec<String>, UpstreamError> {
    let call = Call::get(["deploys", id, "log"]).answer_bytes(LOG_BYTES);
    let answer = match access.send(call).await {
        Ok(answer) => answer,
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let entries: Vec<LogEntry> = answer.json()?;
    let skipped = entries.len().saturating_sub(lines);
    Ok(entries
        .into_iter()
        .skip(skipped)
        .filter_map(LogEntry::text)
        .collect())
}

/// A line of the log; its text has had two names.
#[derive(Deserialize)]
struct LogEntry {
    message: Option<String>,
    log: Option<String>,
}

impl LogEntry {
    fn text(self) -> Option<String> {
        self.message.or(self.log)
    }
}

/// How a build with this deploy stands, by Netlify's words for it. An error text is final whatever the state says: a
/// canceled deploy has been seen as `prepared`.
pub fn outcome(deploy: &facts::Deploy) -> BuildOutcome {
    match deploy.state.as_str() {
        "ready" => BuildOutcome::Ready,
        "rejected" => BuildOutcome::Rejected,
        "pending_review" if deploy.error_message.is_none() => BuildOutcome::InReview,
        state if state == "error" || deploy.error_message.is_some() => ending(deploy),
        _ => BuildOutcome::Running,
    }
}

/// A deploy as a build that was seen; file uploads are no builds.
pub fn seen(deploy: facts::Deploy) -> Option<SeenBuild> {
    let build = facts::Build {
        id: deploy.build_id.clone()?,
        deploy_id: deploy.id.clone(),
    };
    Some(SeenBuild {
        outcome: outcome(&deploy),
        created_at: deploy.made_at(),
        deploy: Some(deploy),
        ..SeenBuild::unseen(build)
    })
}

fn ending(deploy: &facts::Deploy) -> BuildOutcome {
    let message = deploy
        .error_message
        .as_deref()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if message.starts_with("build blocked:") || deploy.unknown_contributor {
        BuildOutcome::Blocked
    } else if message.contains("canceled build due to no content change") {
        BuildOutcome::Unchanged
    } else if message == "canceled build" || message.starts_with("build canceled by ") {
        BuildOutcome::Canceled
    } else if deploy.skipped || message.starts_with("skipped") {
        BuildOutcome::Skipped
    } else {
        BuildOutcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deploy(more: serde_json::Value) -> facts::Deploy {
        let mut whole = json!({ "id": "d1", "state": "new" });
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Deploy>(whole).unwrap().into()
    }

    #[test]
    fn outcomes_follow_message_and_state() {
        use BuildOutcome::{Blocked, Canceled, Failed, Ready, Rejected, Skipped, Unchanged};
        for (answer, expected) in [
            (json!({ "state": "ready" }), Ready),
            (json!({ "state": "ready", "error_message": "" }), Ready),
            (json!({ "state": "rejected" }), Rejected),
            (json!({ "state": "pending_review" }), BuildOutcome::InReview),
            (json!({ "state": "error" }), Failed),
            (
                json!({ "state": "error", "error_message": "Canceled build" }),
                Canceled,
            ),
            (
                json!({ "state": "prepared", "error_message": "Canceled build" }),
                Canceled,
            ),
            (
                json!({ "state": "error", "error_message": "Failed during stage 'checking build content for changes': Canceled build due to no content change" }),
                Unchanged,
            ),
            (
                json!({ "state": "error", "error_message": "Build canceled by my-plugin" }),
                Canceled,
            ),
            (json!({ "state": "error", "skipped": true }), Skipped),
            (
                json!({ "state": "error", "error_message": "Skipped due to account credit usage exceeded" }),
                Skipped,
            ),
            (
                json!({ "state": "error", "error_message": "Build blocked: Unrecognized Git contributor." }),
                Blocked,
            ),
            (
                json!({ "state": "error", "strict_contributor_verification_failure": true }),
                Blocked,
            ),
            (
                json!({ "state": "error", "error_message": "Failed during stage 'building site': exit code 2" }),
                Failed,
            ),
        ] {
            assert_eq!(outcome(&deploy(answer.clone())), expected, "{answer}");
        }
    }

    #[test]
    fn every_other_state_is_running_also_unknown_ones() {
        for state in [
            "new",
            "accepted",
            "enqueued",
            "building",
            "uploading",
            "uploaded",
            "preparing",
            "prepared",
            "processing",
            "processed",
            "retrying",
            "teleporting",
            "",
        ] {
            assert_eq!(
                outcome(&deploy(json!({ "state": state }))),
                BuildOutcome::Running,
                "{state}"
            );
        }
    }

    #[test]
    fn nulls_and_unknown_fields_are_tolerated() {
        let fact = deploy(json!({
            "build_id": null, "commit_ref": null, "skipped": null, "deploy_time": null,
            "log_access_attributes": { "token": "x" }, "error_message": "",
        }));
        assert_eq!(fact.error_message, None);
        assert!(!fact.skipped);
    }
}
