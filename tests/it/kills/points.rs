//! Where a process dies: the six points of an effect, and how a link is held at one of them until the kill.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use linkbroker_sandbox::Strikes;
use tokio::sync::watch;
use uuid::Uuid;

use crate::world::{Statement, Tap, Transaction, unix_ms};

/// A point of an effect, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    BeforeIntent,
    AfterIntent,
    HalfSent,
    AnswerUnread,
    BeforeOutcome,
    AfterOutcome,
}

impl Point {
    pub const ALL: [Self; 6] = [
        Self::BeforeIntent,
        Self::AfterIntent,
        Self::HalfSent,
        Self::AnswerUnread,
        Self::BeforeOutcome,
        Self::AfterOutcome,
    ];

    /// Its column in the table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::BeforeIntent => "before the intent",
            Self::AfterIntent => "after the intent",
            Self::HalfSent => "request half sent",
            Self::AnswerUnread => "answer unread",
            Self::BeforeOutcome => "before the outcome",
            Self::AfterOutcome => "after the outcome",
        }
    }
}

/// The commit that announces an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// The one that says of this step that it runs.
    OfStep(String),
    /// The so-many-eth round of undoing, counted from 1: an undo has no intent, because absent counts as done.
    OfRound(usize),
}

/// The commit at which a link is held.
#[derive(Debug, Clone)]
pub enum Commit {
    Announcing(Intent),
    /// The first one after these calls were answered.
    Recording(Strikes),
}

/// Whether the commit has happened when the link is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// What becomes of a connection that stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// It goes on where it stood.
    ToGoOn,
    /// It is cut: nothing more of it reaches Postgres.
    ByACut,
}

#[derive(Debug, Default)]
struct Watched {
    hold: Option<(Commit, Side)>,
    /// The commit is under way.
    struck: bool,
    /// It is to be held once it has happened.
    pending: bool,
    /// The link stands still.
    held: bool,
    rounds: usize,
}

/// When which effects of a link were announced, as far as its commits tell.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// Steps that began to run.
    pub steps: Vec<(f64, String)>,
    /// Rounds of undoing.
    pub rounds: Vec<f64>,
}

/// Holds links at their commits.
pub struct Holds {
    links: Mutex<HashMap<Uuid, Watched>>,
    log: Mutex<Log>,
    changed: watch::Sender<u64>,
    freed: watch::Sender<Freed>,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            links: Mutex::default(),
            log: Mutex::default(),
            changed: watch::Sender::new(0),
            freed: watch::Sender::new(Freed::ToGoOn),
        }
    }
}

impl Holds {
    /// Lets a link commit until it is there. A link that was not let at all is kept waiting at its first commit.
    pub fn watch(&self, link: Uuid, hold: Option<(Commit, Side)>) {
        let watched = Watched {
            hold,
            ..Watched::default()
        };
        self.links().insert(link, watched);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether the link stands still.
    pub fn holds(&self, link: Uuid) -> bool {
        self.links().get(&link).is_some_and(|watched| watched.held)
    }

    /// Frees every connection that stands still; nothing is held any more.
    pub fn free(&self, how: Freed) {
        for watched in self.links().values_mut() {
            *watched = Watched::default();
        }
        self.freed.send_replace(how);
    }

    /// What was announced so far.
    pub fn log(&self) -> Log {
        self.log.lock().expect("no test panicked in here").clone()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Uuid, Watched>> {
        self.links.lock().expect("no test panicked in here")
    }

    async fn known(&self, link: Uuid) {
        let mut changed = self.changed.subscribe();
        while !self.links().contains_key(&link) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes note of a commit; whether it is the one to hold the link at.
    fn strikes(&self, link: Uuid, transaction: &Transaction) -> Option<Side> {
        let announced = Announced::by(transaction);
        self.note(&announced);
        let mut links = self.links();
        let watched = links.get_mut(&link)?;
        watched.rounds += usize::from(announced.undoes);
        let (commit, side) = watched.hold.as_ref().filter(|_| !watched.struck)?;
        let there = match commit {
            Commit::Announcing(Intent::OfStep(step)) => announced.steps.contains(step),
            Commit::Announcing(Intent::OfRound(round)) => {
                announced.undoes && watched.rounds == *round
            }
            Commit::Recording(answered) => announced.saves && answered.count() > 0,
        };
        let side = there.then_some(*side)?;
        watched.struck = true;
        watched.held = side == Side::Before;
        watched.pending = side == Side::After;
        Some(side)
    }

    fn note(&self, announced: &Announced) {
        let mut log = self.log.lock().expect("no test panicked in here");
        let now = unix_ms();
        log.rounds.extend(announced.undoes.then_some(now));
        let steps = announced.steps.iter().map(|step| (now, step.clone()));
        log.steps.extend(steps);
    }
}

async fn until(mut freed: watch::Receiver<Freed>) -> io::Result<()> {
    if freed.changed().await.is_err() {
        return pending().await;
    }
    match *freed.borrow() {
        Freed::ToGoOn => Ok(()),
        Freed::ByACut => Err(io::Error::other("cut off at the kill")),
    }
}

#[async_trait]
impl Tap for Holds {
    async fn committing(&self, transaction: &Transaction) -> io::Result<()> {
        let Some(link) = link_of(transaction) else {
            return Ok(());
        };
        self.known(link).await;
        let freed = self.freed.subscribe();
        match self.strikes(link, transaction) {
            Some(Side::Before) => until(freed).await,
            _ => Ok(()),
        }
    }

    async fn committed(&self, transaction: &Transaction) -> io::Result<()> {
        let Some(link) = link_of(transaction) else {
            return Ok(());
        };
        let freed = self.freed.subscribe();
        let is_held = self.links().get_mut(&link).is_some_and(|watched| {
            let pending = std::mem::take(&mut watched.pending);
            watched.held |= pending;
            pending
        });
        match is_held {
            true => until(freed).await,
            false => Ok(()),
        }
    }
}

/// What a worker's transaction says of a link.
#[derive(Debug)]
struct Announced {
    steps: Vec<String>,
    undoes: bool,
    saves: bool,
}

impl Announced {
    fn by(transaction: &Transaction) -> Self {
        Self {
            steps: transaction.iter().flat_map(running).collect(),
            undoes: transaction.iter().any(asks_for_rights),
            saves: transaction.iter().any(saves),
        }
    }
}

fn saves(statement: &Statement) -> bool {
    statement.query.starts_with("update links set facts")
}

fn asks_for_rights(statement: &Statement) -> bool {
    statement.query.contains("from resources mine")
}

/// The steps that a statement says to be running.
fn running(statement: &Statement) -> Vec<String> {
    if !statement.query.starts_with("insert into step_runs") {
        return Vec::new();
    }
    let states = statement.texts(3);
    let steps = statement.texts(2).into_iter().zip(states);
    steps
        .filter(|(_, state)| state == "running")
        .map(|(step, _)| step)
        .collect()
}

/// The link that a worker's round is about.
fn link_of(transaction: &Transaction) -> Option<Uuid> {
    let about = transaction
        .iter()
        .find(|it| saves(it) || asks_for_rights(it))?;
    let id = about.parameters.first()?.as_ref()?;
    Uuid::from_slice(id).ok()
}
