//! A door between the server and its Postgres: whoever sets it up sees what is said there, may say it in other words, and may
//! keep a commit waiting or cut it off.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// The request for TLS, by which a client may begin.
const SSL_REQUEST: i32 = 80_877_103;
// Types of messages: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
const PARSE: u8 = b'P';
const BIND: u8 = b'B';
const QUERY: u8 = b'Q';
const COMPLETE: u8 = b'C';

/// What is done at the door.
#[async_trait]
pub trait Tap: Send + Sync + 'static {
    /// The query that is sent instead of this one.
    fn query(&self, query: String) -> String {
        query
    }

    /// The server wants to commit: the commit is sent on when this resolves.
    ///
    /// # Errors
    /// When the connection is to be cut instead.
    async fn committing(&self, _: &Transaction) -> io::Result<()> {
        Ok(())
    }

    /// It is committed: the server hears of it when this resolves.
    ///
    /// # Errors
    /// When the connection is to be cut instead.
    async fn committed(&self, _: &Transaction) -> io::Result<()> {
        Ok(())
    }
}

/// What a transaction said, in order.
pub type Transaction = Vec<Statement>;

/// One statement with its parameters in Postgres's binary form.
#[derive(Debug, Clone)]
pub struct Statement {
    pub query: Arc<str>,
    pub parameters: Vec<Option<Vec<u8>>>,
}

/// Closed with the value.
pub struct Wire {
    /// The database's address through this door.
    pub url: String,
    listening: JoinHandle<()>,
}

/// Where the Postgres listens.
#[derive(Clone)]
enum Place {
    Socket(PathBuf),
    Port(String, u16),
}

impl Wire {
    /// A door to the database at this address.
    pub async fn to(url: &str, tap: Arc<dyn Tap>) -> Self {
        let options = PgConnectOptions::from_str(url).expect("the address of a database");
        let place = match options.get_socket() {
            Some(folder) => Place::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Place::Port(options.get_host().to_owned(), options.get_port()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut through = url::Url::parse(url).expect("an address");
        through.set_query(Some("sslmode=disable"));
        through
            .set_host(Some("127.0.0.1"))
            .expect("an address with a host");
        through
            .set_port(Some(port))
            .expect("an address with a port");
        Self {
            url: through.into(),
            listening: tokio::spawn(listen(listener, place, tap)),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, place: Place, tap: Arc<dyn Tap>) {
    while let Ok((client, _)) = listener.accept().await {
        let (place, tap) = (place.clone(), tap.clone());
        // Ends with either side; the server notices a lost connection by itself.
        tokio::spawn(async move {
            match place {
                Place::Socket(path) => {
                    let postgres = UnixStream::connect(path).await?;
                    pass(client, tokio::io::split(postgres), tap.as_ref()).await
                }
                Place::Port(host, port) => {
                    let postgres = TcpStream::connect((host, port)).await?;
                    pass(client, tokio::io::split(postgres), tap.as_ref()).await
                }
            }
        });
    }
}

async fn pass<S: AsyncRead + AsyncWrite>(
    client: TcpStream,
    (mut from_postgres, mut to_postgres): (ReadHalf<S>, WriteHalf<S>),
    tap: &dyn Tap,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let committing = Mutex::new(None);
    let queries = async {
        // The first message has no type.
        let hello = rest(&mut from_client).await?;
        assert_ne!(
            i32::from_be_bytes(hello[..4].try_into().expect("four bytes")),
            SSL_REQUEST,
            "the address says sslmode=disable"
        );
        send(&mut to_postgres, None, &hello).await?;
        let mut said = Said::default();
        loop {
            let kind = from_client.read_u8().await?;
            let body = said.hear(kind, rest(&mut from_client).await?, tap);
            if kind == QUERY && body.starts_with(b"COMMIT") {
                tap.committing(&said.transaction).await?;
                *lock(&committing) = Some(said.transaction.clone());
            }
            send(&mut to_postgres, Some(kind), &body).await?;
        }
    };
    let answers = async {
        loop {
            let kind = from_postgres.read_u8().await?;
            let body = rest(&mut from_postgres).await?;
            if kind == COMPLETE && body.starts_with(b"COMMIT") {
                let committed = lock(&committing).take();
                tap.committed(&committed.unwrap_or_default()).await?;
            }
            send(&mut to_client, Some(kind), &body).await?;
        }
    };
    tokio::select! {
        ended = queries => ended,
        ended = answers => ended,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panicked in here")
}

/// What the server has said on one connection.
#[derive(Default)]
struct Said {
    prepared: HashMap<Vec<u8>, Arc<str>>,
    transaction: Transaction,
}

impl Said {
    /// Takes note of a message; the one to send on.
    fn hear(&mut self, kind: u8, body: Vec<u8>, tap: &dyn Tap) -> Vec<u8> {
        match kind {
            PARSE => return self.prepare(&body, tap),
            BIND => self.transaction.extend(self.bound(&body)),
            QUERY if body.starts_with(b"BEGIN") => self.transaction.clear(),
            _ => {}
        }
        body
    }

    /// Name, query and the types of its parameters, with NUL between them.
    fn prepare(&mut self, body: &[u8], tap: &dyn Tap) -> Vec<u8> {
        let (name, after) = text(body);
        let (query, types) = text(after);
        let query = String::from_utf8(query.to_vec()).expect("a query is text");
        let query = tap.query(query);
        self.prepared.insert(name.to_vec(), query.as_str().into());
        [name, query.as_bytes(), types].join(&0)
    }

    /// Names of the portal and of the prepared statement, formats, parameters.
    fn bound(&self, body: &[u8]) -> Option<Statement> {
        let (_, after) = text(body);
        let (name, mut after) = text(after);
        for _ in 0..integer::<2>(&mut after)? {
            integer::<2>(&mut after)?;
        }
        let count = integer::<2>(&mut after)?;
        Some(Statement {
            query: self.prepared.get(name)?.clone(),
            parameters: (0..count).map(|_| value(&mut after)).collect(),
        })
    }
}

impl Statement {
    /// A parameter that is an array of texts.
    pub fn texts(&self, index: usize) -> Vec<String> {
        let Some(Some(array)) = self.parameters.get(index) else {
            return Vec::new();
        };
        // Dimensions, whether there are nulls, type of the elements; length and lower bound of the one dimension.
        let mut rest = array.get(20..).unwrap_or_default();
        std::iter::from_fn(|| (!rest.is_empty()).then(|| value(&mut rest)))
            .map(|text| String::from_utf8(text.unwrap_or_default()).expect("a text"))
            .collect()
    }
}

/// A text that ends in NUL, and what follows it.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.expect("a text ends in NUL");
    (&bytes[..end], &bytes[end + 1..])
}

fn integer<const BYTES: usize>(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, after) = rest.split_first_chunk::<BYTES>()?;
    *rest = after;
    Some(
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    )
}

/// A value behind its length; of a null the length is -1.
fn value(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = integer::<4>(rest)?;
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value.to_vec())
}

/// What follows a message's type: its length, which counts itself, and its body.
async fn rest(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let length = usize::try_from(length - 4).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(body)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), kind: Option<u8>, body: &[u8]) -> io::Result<()> {
    let length = i32::try_from(body.len() + 4).map_err(io::Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    to.write_all(&message).await
}
