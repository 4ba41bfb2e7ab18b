//! The audit of one link in hand: which writes its steps sent, until they are recorded.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::presence::Presence;
use crate::{
    link::{
        facts::{DeployKey, Fact, Origin},
        plan::StepName,
    },
    store::{
        Rows, StoreError,
        audit::{self, NewEntry},
        begin,
        links::LeasedLink,
    },
    upstream::{Journal, SentWrite},
};

/// What is to be recorded of a link.
pub struct Audit {
    link: Uuid,
    tenant: String,
    sent: Journal,
    adopted: Mutex<Vec<Adopted>>,
}

/// Writes that are not yet recorded.
#[derive(Debug, Default)]
pub struct Unrecorded {
    sent: Vec<SentWrite>,
    adopted: Vec<Adopted>,
}

/// A step found the effect of its interrupted try, which this process did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Adopted {
    step: StepName,
    intent_at: OffsetDateTime,
}

impl Audit {
    /// An empty audit. Nothing is written to an upstream unless this process is surely among the workers.
    pub fn of(link: &LeasedLink, presence: &Arc<Presence>) -> Self {
        let presence = presence.clone();
        Self {
            link: link.id,
            tenant: link.tenant.clone(),
            sent: Journal::with_leave(move || presence.may_write()),
            adopted: Mutex::default(),
        }
    }

    /// Runs a step and notes what it writes.
    pub async fn during<F: Future>(&self, step: StepName, work: F) -> F::Output {
        self.sent.during(step.as_str(), work).await
    }

    /// Notes what a step found after an interrupted try, when the try must have made it.
    pub fn found(
        &self,
        step: StepName,
        intent_at: OffsetDateTime,
        fact: &Fact,
        stocked: Option<&DeployKey>,
    ) {
        let wrote = |write: &SentWrite| write.purpose == step.as_str();
        if is_trace(fact, stocked) && !self.sent.writes().iter().any(wrote) {
            let adopted = Adopted { step, intent_at };
            self.adopted_list().push(adopted);
        }
    }

    /// Whether everything is recorded.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.adopted_list().is_empty()
    }

    /// What is not yet recorded.
    pub fn unrecorded(&self) -> Unrecorded {
        Unrecorded {
            sent: self.sent.writes(),
            adopted: self.adopted_list().clone(),
        }
    }

    /// Records it, in the transaction that saves the link's round.
    pub async fn record(
        &self,
        db: &mut PgConnection,
        unrecorded: &Unrecorded,
    ) -> Result<(), StoreError> {
        let entries: Vec<_> = unrecorded.sent.iter().map(|it| self.entry(it)).collect();
        audit::append(db, &self.tenant, &entries).await?;
        for Adopted { step, intent_at } in &unrecorded.adopted {
            let step = step.as_str();
            audit::append_adopted(db, &self.tenant, self.link, step, *intent_at).await?;
        }
        Ok(())
    }

    /// Forgets what a committed transaction has recorded.
    pub fn forget(&self, recorded: &Unrecorded) {
        self.sent.forget(&recorded.sent);
        self.adopted_list()
            .retain(|known| !recorded.adopted.contains(known));
    }

    /// Records what is left when the link was given up: the writes have happened, whoever holds its
    /// lease by now. When that fails too, the log has them, and whoever finds their effects audits
    /// those as adopted.
    pub async fn keep(&self, pool: &PgPool) {
        if self.is_empty() {
            return;
        }
        let left = self.unrecorded();
        let kept = async {
            let mut tx = begin(pool, Rows::Of(&self.tenant)).await?;
            self.record(&mut tx, &left).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = kept.await {
            tracing::error!(link = %self.link, %error, writes = ?left.sent, "writes to upstreams could not be audited");
        }
    }

    fn entry(&self, write: &SentWrite) -> NewEntry {
        NewEntry {
            id: write.id,
            caller: None,
            link: Some(self.link),
            step: Some(write.purpose),
            verb: write.method.to_string(),
            object: write.path.clone(),
            upstream: Some(write.trace.clone()),
        }
    }

    fn adopted_list(&self) -> std::sync::MutexGuard<'_, Vec<Adopted>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a fact that was found shows a write of the interrupted try: not a key from stock, and
/// nothing that others made.
fn is_trace(fact: &Fact, stocked: Option<&DeployKey>) -> bool {
    match fact {
        Fact::DeployKey(key) => stocked.is_none_or(|stocked| stocked.id != key.id),
        Fact::InstalledKey(_, origin) | Fact::Webhook(_, origin, _) | Fact::Site(_, origin) => {
            *origin == Origin::Made
        }
        Fact::Environment(set) => set.iter().any(|it| it.origin == Origin::Made),
        Fact::Notifications(hooks) => !hooks.is_empty(),
        Fact::Attachment(_) | Fact::AskedBuild(_) | Fact::Proof(_) => true,
        Fact::Repository(..)
        | Fact::DeployKeyRefused
        | Fact::SiteThatWas(..)
        | Fact::Build(..)
        | Fact::Deploy(_)
        | Fact::Asked(_)
        | Fact::KeyRetired(_)
        | Fact::Nothing => false,
    }
}
