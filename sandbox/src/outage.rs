//! Times in which the HTTP door is out of order: nobody listens there, or nobody accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How many connections wait at a door that nobody opens before the system lets further ones hang.
const WAITING_ROOM: u32 = 1;
/// How many connections of our own fill it for sure.
const FILLING: usize = 4;

/// How the door is out of order, and for how long.
#[derive(Clone, Copy, Debug)]
pub enum Outage {
    /// Nobody listens: connections are refused.
    Refuses(Duration),
    /// Connections are neither accepted nor refused.
    Hangs(Duration),
}

/// Tells the door of outages.
#[derive(Debug, Default)]
pub struct Outages(watch::Sender<Option<Outage>>);

impl Outages {
    /// Puts the door out of order. Connections that are open end with the answer under way.
    pub fn begin(&self, outage: Outage) {
        self.0.send_replace(Some(outage));
    }

    /// The door is in order again. Another outage that began meanwhile is over too.
    pub fn end(&self) {
        self.0.send_replace(None);
    }

    /// Resolves when there is one.
    pub async fn begun(&self) {
        // An error says that the sandbox is gone.
        drop(self.subscribe().wait_for(Option::is_some).await);
    }

    /// Resolves when there is none: what the vendors tell each other does not come through this door in the real world.
    pub async fn over(&self) {
        drop(self.subscribe().wait_for(Option::is_none).await);
    }

    /// Who hears of the outages from now on.
    pub fn subscribe(&self) -> watch::Receiver<Option<Outage>> {
        self.0.subscribe()
    }
}

impl Outage {
    /// Sits the outage out, in place of a listener that is closed already; a listener at the same address afterwards.
    ///
    /// # Errors
    /// When somebody else has taken the address.
    pub async fn pass(self, at: SocketAddr) -> io::Result<TcpListener> {
        // Bound all the time, so that nobody takes the port meanwhile.
        let place = bound(at)?;
        match self {
            Self::Refuses(time) => {
                sleep(time).await;
                place.listen(1024)
            }
            Self::Hangs(time) => {
                let full = place.listen(WAITING_ROOM)?;
                let knock = || timeout(Duration::from_millis(20), TcpStream::connect(at));
                let waiting: Vec<_> = (0..FILLING).map(|_| knock()).collect();
                let waiting = futures_util::future::join_all(waiting).await;
                sleep(time).await;
                drop((waiting, full));
                bound(at)?.listen(1024)
            }
        }
    }
}

fn bound(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}
