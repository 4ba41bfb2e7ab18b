//! A worker as a process would run it, on a thread of this one: it can be killed, and it can freeze.

use std::thread::JoinHandle;
use std::time::Duration;

use linkbroker::config::Config;
use linkbroker::store::{self, bell::Bell};
use linkbroker::upstream::Http;
use linkbroker::worker::{Doors, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// Connections of one worker.
const POOL_SIZE: u32 = 6;

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
    blows: UnboundedSender<Blow>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts one on a database.
    pub fn start(config: Config, database_url: String) -> Self {
        let (blows, waits) = unbounded_channel();
        let thread = std::thread::spawn(move || live(&config, &database_url, waits));
        Self {
            blows,
            thread: Some(thread),
        }
    }

    /// Holds everything in it for this long, as a stopped process or a stalled machine does.
    pub fn freeze(&self, time: Duration) {
        self.blows.send(Blow::Frozen(time)).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.blows.send(Blow::Killed).ok();
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            eprintln!("a worker's thread panicked");
        }
    }
}

fn live(config: &Config, database_url: &str, mut blows: UnboundedReceiver<Blow>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let work = work(config, database_url);
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
    drop(runtime);
}

async fn work(config: &Config, database_url: &str) {
    let pool = store::connect(database_url, "linkbroker-worker", POOL_SIZE).await;
    let wires = store::connect(database_url, "linkbroker-bell", 2).await;
    let bell = Bell::default();
    let stop = CancellationToken::new();
    tokio::spawn(bell.clone().connect(wires.expect("a pool"), stop.clone()));
    let http = Http::with_call_timeout(config.workers.call_timeout).expect("a client");
    let instances = config.instances.iter().cloned().map(Into::into).collect();
    let key_ring = config.key_ring().expect("the world's key ring");
    let worker = Worker::new(
        pool.expect("a pool"),
        Doors::new(http, instances, key_ring),
        config.grants.clone(),
        config.workers.clone(),
        bell,
        stop,
    );
    worker.run().await;
}
