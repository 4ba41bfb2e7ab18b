//! Everything the sandbox knows, shared by all routers and background tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::contracts::Contracts;
use crate::faults::Faults;
use crate::forge::Forges;
use crate::outage::Outages;
use crate::recorder::Recorder;
use crate::switches::Switches;
use crate::{git, github, netlify};

/// The state of all vendors. Routers take it as `Arc<World>`.
///
/// Locks are held for a few lines and never across an `.await` (the guards are not `Send`, so the compiler sees to it).
/// Whoever needs two of them takes `netlify` before a provider's, and no two
/// providers' at the same time.
pub struct World {
    pub netlify: Mutex<netlify::State>,
    pub github: Mutex<github::State>,
    /// The other git providers.
    pub forges: Forges,
    pub git: git::Host,
    pub switches: RwLock<Switches>,
    pub clock: Clock,
    pub recorder: Recorder,
    pub faults: Faults,
    pub(crate) outages: Outages,
    pub contracts: Contracts,
    /// For webhooks and notifications that the sandbox sends.
    pub http: reqwest::Client,
    /// Where the HTTP door listens.
    pub addr: SocketAddr,
    /// Repositories, build folders and published files live below.
    pub data_dir: PathBuf,
    switches_at_start: Switches,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The parts of a world that are made before it.
pub(crate) struct Parts {
    pub git: git::Host,
    pub switches: Switches,
    pub addr: SocketAddr,
    pub data_dir: PathBuf,
}

impl World {
    pub(crate) fn new(parts: Parts) -> anyhow::Result<Self> {
        let clock = Clock::default();
        Ok(Self {
            netlify: Mutex::new(netlify::State::new(&clock)),
            github: Mutex::new(github::State::default()),
            forges: Forges::default(),
            git: parts.git,
            switches_at_start: parts.switches.clone(),
            switches: RwLock::new(parts.switches),
            clock,
            recorder: Recorder::default(),
            faults: Faults::default(),
            outages: Outages::default(),
            contracts: Contracts::default(),
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(std::time::Duration::from_secs(10))
                .build()?,
            addr: parts.addr,
            data_dir: parts.data_dir,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// False for what a git provider's lagging list does not show yet.
    pub fn is_listed(&self, created_at: time::OffsetDateTime) -> bool {
        let lag = std::time::Duration::from_secs(self.switches.read().list_lag_seconds);
        created_at + lag <= self.clock.now()
    }

    /// Lays a JSON merge patch over the switches.
    ///
    /// # Errors
    /// When it names a switch that does not exist, or gives one a value of the wrong type; nothing is changed then.
    pub fn patch_switches(&self, patch: &serde_json::Value) -> serde_json::Result<()> {
        let mut switches = self.switches.write();
        *switches = switches.patched(patch)?;
        Ok(())
    }

    pub(crate) fn restore_switches(&self) {
        *self.switches.write() = self.switches_at_start.clone();
    }

    /// Runs a background task that ends with the sandbox at the latest (it is dropped at its next `.await`, and its result is
    /// `None` then).
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(task).await })
    }

    /// Ends all background tasks.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }
}
