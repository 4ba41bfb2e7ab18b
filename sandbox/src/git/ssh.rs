//! The SSH front: who may come in is decided by the provider's keys, what runs is `git upload-pack` or `git receive-pack`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key;
use russh::server::{
    self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Server as _, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelWriteHalf, MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::PublicKey;
use super::pushes::PUSHER;
use crate::forge::gate::{self, Wanted};
use crate::world::World;

/// SSH's number for the standard error stream of a channel.
const STDERR: u32 = 1;

/// Accepts connections until it is dropped, which also ends the sessions.
pub async fn serve(world: Arc<World>, listener: TcpListener) {
    let config = server::Config {
        keys: vec![world.git.host_key.clone()],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // A sandbox has no secret that a timing could betray, and tests should not wait.
        auth_rejection_time: Duration::ZERO,
        nodelay: true,
        ..server::Config::default()
    };
    let served = Front { world }
        .run_on_socket(Arc::new(config), &listener)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the SSH front ended");
    }
}

struct Front {
    world: Arc<World>,
}

impl server::Server for Front {
    type Handler = Visit;

    fn new_client(&mut self, _: Option<std::net::SocketAddr>) -> Visit {
        Visit {
            world: self.world.clone(),
            key: None,
            protocol: None,
            channels: HashMap::new(),
        }
    }

    fn handle_session_error(&mut self, error: russh::Error) {
        tracing::debug!(%error, "an SSH session ended");
    }
}

/// One connection.
struct Visit {
    world: Arc<World>,
    /// Known to some provider; which one is asked is told by the path.
    key: Option<PublicKey>,
    /// `GIT_PROTOCOL`, with which the client asks for protocol version 2.
    protocol: Option<String>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Visit {
    /// As at all providers, everybody is the user `git` and the key says who it is.
    fn identify(&self, user: &str, key: &ssh_key::PublicKey) -> Option<PublicKey> {
        let key = PublicKey::offered(key).ok()?;
        (user == "git" && gate::is_known(&self.world, &key)).then_some(key)
    }

    /// What the command line asks for, as a process; or the line with which the provider refuses.
    fn prepare(&self, line: &str) -> Result<Command, String> {
        let key = self.key.as_ref().ok_or("ERROR: Not authenticated.")?;
        let (wanted, path) = parse(line).ok_or_else(|| gate::greeting(&self.world, key))?;
        let opened = gate::open(&self.world, key, path, wanted)?;
        let repository = self.world.git.repository(&opened.store_key);
        let mut command = repository.pack_command(match wanted {
            Wanted::Read => "upload-pack",
            Wanted::Write => "receive-pack",
        });
        command.env(PUSHER, opened.pusher);
        command.envs(
            self.protocol
                .as_ref()
                .map(|version| ("GIT_PROTOCOL", version)),
        );
        Ok(command)
    }
}

impl server::Handler for Visit {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(match self.identify(user, offer.public_key) {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.key = self.identify(user, key.public_key);
        Ok(match self.key {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name != "GIT_PROTOCOL" {
            return session.channel_failure(channel);
        }
        self.protocol = Some(value.to_owned());
        session.channel_success(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.exec_request(channel, b"", session).await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(open) = self.channels.remove(&channel) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let prepared = self.prepare(&String::from_utf8_lossy(line));
        let world = self.world.clone();
        self.world.spawn(async move {
            if let Err(error) = run(open, prepared).await {
                tracing::debug!(%error, "a git client left early");
            }
            world.git.pushes().wake();
        });
        Ok(())
    }
}

/// Runs the process, or prints the refusal, and ends the channel with the exit status.
async fn run(channel: Channel<Msg>, prepared: Result<Command, String>) -> anyhow::Result<()> {
    let (mut from_client, to_client) = channel.split();
    let status = match prepared {
        Ok(mut command) => connect(command.spawn()?, from_client.make_reader(), &to_client).await?,
        Err(refusal) => {
            let mut stderr = to_client.make_writer_ext(Some(STDERR));
            stderr.write_all(format!("{refusal}\n").as_bytes()).await?;
            stderr.flush().await?;
            1
        }
    };
    to_client.exit_status(status).await?;
    to_client.eof().await?;
    to_client.close().await?;
    Ok(())
}

/// Copies all three streams until the process has ended; gives its exit status.
async fn connect(
    mut child: Child,
    mut from_client: impl AsyncRead + Unpin,
    to_client: &ChannelWriteHalf<Msg>,
) -> anyhow::Result<u32> {
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        anyhow::bail!("the streams of git are not piped");
    };
    let (mut out, mut err) = (
        to_client.make_writer(),
        to_client.make_writer_ext(Some(STDERR)),
    );
    let input = async {
        // git closes its input when it has read enough; only its exit status tells whether all went well.
        if let Err(error) = tokio::io::copy(&mut from_client, &mut stdin).await {
            tracing::debug!(%error, "git reads no further");
        }
        drop(stdin);
        std::future::pending::<Infallible>().await
    };
    let end = async {
        tokio::try_join!(
            tokio::io::copy(&mut stdout, &mut out),
            tokio::io::copy(&mut stderr, &mut err)
        )?;
        child.wait().await
    };
    let status = tokio::select! {
        never = input => match never {},
        ended = end => ended?,
    };
    Ok(status.code().map_or(1, |code| code.unsigned_abs()))
}

/// `git-upload-pack '/owner/name.git'` → what is wanted, and `owner/name`.
fn parse(line: &str) -> Option<(Wanted, &str)> {
    let line = line.strip_prefix("git ").or(line.strip_prefix("git-"))?;
    let (service, path) = line.split_once(' ')?;
    let wanted = match service {
        "upload-pack" => Wanted::Read,
        "receive-pack" => Wanted::Write,
        _ => return None,
    };
    let path = path.trim().trim_matches('\'').trim_matches('/');
    Some((wanted, path.strip_suffix(".git").unwrap_or(path)))
}
