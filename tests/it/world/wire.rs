//! A door between the server and its Postgres that takes the tenant predicate out of every query on the way: what is still
//! hidden is hidden by row level security alone.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex};

use regex::Regex;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// The request for TLS, by which a client may begin.
const SSL_REQUEST: i32 = 80_877_103;
/// Type of the message that carries a query: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
const PARSE: u8 = b'P';

static PREDICATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"((?:\w+\.)?\btenant) = (\$\d+)").expect("a regular expression"));

/// Closed with the value.
pub struct Wire {
    /// The database's address through this door.
    pub url: String,
    rewritten: Arc<Mutex<Vec<String>>>,
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
    pub async fn to(url: &str) -> Self {
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
        let rewritten = Arc::<Mutex<Vec<String>>>::default();
        let listening = tokio::spawn(listen(listener, place, rewritten.clone()));
        Self {
            url: through.into(),
            rewritten,
            listening,
        }
    }

    /// The queries that went through without their tenant predicate, each as often as it was sent.
    pub fn rewritten(&self) -> Vec<String> {
        self.rewritten
            .lock()
            .expect("no test panicked in here")
            .clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, place: Place, rewritten: Arc<Mutex<Vec<String>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (place, rewritten) = (place.clone(), rewritten.clone());
        // Ends with either side; the server notices a lost connection by itself.
        tokio::spawn(async move {
            match place {
                Place::Socket(path) => {
                    let postgres = UnixStream::connect(path).await?;
                    pass(client, tokio::io::split(postgres), &rewritten).await
                }
                Place::Port(host, port) => {
                    let postgres = TcpStream::connect((host, port)).await?;
                    pass(client, tokio::io::split(postgres), &rewritten).await
                }
            }
        });
    }
}

async fn pass<S: AsyncRead + AsyncWrite>(
    client: TcpStream,
    (mut from_postgres, mut to_postgres): (tokio::io::ReadHalf<S>, tokio::io::WriteHalf<S>),
    rewritten: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let answers = tokio::io::copy(&mut from_postgres, &mut to_client);
    let queries = async {
        // The first message has no type.
        let hello = rest(&mut from_client).await?;
        assert_ne!(
            i32::from_be_bytes(hello[..4].try_into().expect("four bytes")),
            SSL_REQUEST,
            "the address says sslmode=disable"
        );
        send(&mut to_postgres, None, &hello).await?;
        loop {
            let kind = from_client.read_u8().await?;
            let mut body = rest(&mut from_client).await?;
            if kind == PARSE {
                body = without_tenant(body, rewritten);
            }
            send(&mut to_postgres, Some(kind), &body).await?;
        }
    };
    tokio::select! {
        done = answers => done.map(|_| ()),
        done = queries => done,
    }
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

/// Name, query and the rest, with NUL between them. The parameter stays in the query, so that its type stays known.
fn without_tenant(body: Vec<u8>, rewritten: &Mutex<Vec<String>>) -> Vec<u8> {
    let mut parts = body.splitn(3, |byte| *byte == 0);
    let (Some(name), Some(query), Some(types)) = (parts.next(), parts.next(), parts.next()) else {
        return body;
    };
    let query = std::str::from_utf8(query).expect("a query is text");
    if !PREDICATE.is_match(query) {
        return body;
    }
    let query = PREDICATE.replace_all(query, "($1 = $2 or true)");
    rewritten
        .lock()
        .expect("no test panicked in here")
        .push(query.clone().into_owned());
    [name, query.as_bytes(), types].join(&0)
}
