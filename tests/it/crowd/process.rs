//! A worker as a process would run it, on a thread of this one: it can be killed, and it can freeze.

use std::time::Duration;

use linkbroker::config::Config;
use linkbroker::link::grant::GrantBook;
use linkbroker::store::{self, bell::Bell};
use linkbroker::upstream::Http;
use linkbroker::worker::{Doors, StoredBudgets, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// Connections of one worker for its links.
const POOL_SIZE: u32 = 3;

/// What can happen to a process.
#[derive(Debug)]
enum Blow {
    /// It is gone, with all tasks wherever they are.
    Killed,
    /// Nothing in it moves for a while.
    Frozen(Duration),
}

/// A running worker; killed when dropped.
pub struct Process {
    /// What its session at the database calls itself.
    pub name: String,
    blows: UnboundedSender<Blow>,
}

impl Process {
    /// Starts one on a database.
    pub fn start(name: String, config: Config, database_url: String) -> Self {
        let (blows, waits) = unbounded_channel();
        let session = name.clone();
        std::thread::spawn(move || live(&session, &config, &database_url, waits));
        Self { name, blows }
    }

    /// Holds everything in it for this long, as a stopped process or a stalled machine does.
    pub fn freeze(&self, time: Duration) {
        self.blows.send(Blow::Frozen(time)).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody waits for its end: it may be frozen.
        self.blows.send(Blow::Killed).ok();
    }
}

fn live(session: &str, config: &Config, url: &str, mut blows: UnboundedReceiver<Blow>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let work = work(session, config, url);
        tokio::pin!(work);
        loop {
            tokio::select! {
                () = &mut work => return,
                blow = blows.recv() => match blow {
                    Some(Blow::Frozen(time)) => std::thread::sleep(time),
                    Some(Blow::Killed) | None => return,
                },
            }
        }
    });
    // Whatever still runs is dropped where it is.
    runtime.shutdown_background();
}

/// The wiring of `src/serve.rs`, without signals.
async fn work(session: &str, config: &Config, url: &str) {
    let pool = store::connect(url, "linkbroker-worker", POOL_SIZE).await;
    let sessions = store::connect(url, session, 2).await;
    let wires = store::connect(url, "linkbroker-bell", 2).await;
    let (pool, key_ring) = (
        pool.expect("a pool"),
        config.key_ring().expect("a key ring"),
    );
    let (bell, stop) = (Bell::default(), CancellationToken::new());
    tokio::spawn(bell.clone().connect(wires.expect("a pool"), stop.clone()));
    let budgets = StoredBudgets::new(pool.clone(), key_ring.clone());
    let call_timeout = config.workers.call_timeout;
    let http = Http::sharing(call_timeout, budgets.clone(), config.github_pace);
    let http = http.expect("a client");
    tokio::spawn(budgets.exchange(http.clone(), stop.clone()));
    let instances = config.instances.iter().cloned().map(Into::into).collect();
    let worker = Worker::new(
        pool,
        sessions.expect("a pool"),
        Doors::new(http, instances, key_ring),
        GrantBook::new(config.grants.clone()),
        config.workers.clone(),
        bell,
        stop,
    );
    worker.run().await;
}
