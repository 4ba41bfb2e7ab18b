//! A shell in which a document's commands are typed, one after the other.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::{GITHUB_TOKEN, NETLIFY_TOKEN, blocks::Block};
use crate::world::{World, until};

/// The shell, and the process group with everything that it started; ended with the value.
pub struct Session {
    shell: Child,
    stdin: ChildStdin,
    group: Pid,
    folder: PathBuf,
    /// What the documents say, and what it is in this world.
    instead: Vec<(&'static str, String)>,
    /// Where sites are in this world: for `.netlify.app`.
    sites: String,
    typed: usize,
}

impl Session {
    /// A shell with the world's programs on its path and its settings in the environment.
    pub fn start(world: &World) -> Self {
        let folder = world.folder().join("session");
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        put_programs(&bin);
        // What the API refuses, curl shall say with its exit code.
        fs::write(folder.join(".curlrc"), "fail-with-body\n").expect("a file");
        let mut shell = shell(world, &folder, &bin)
            .spawn()
            .expect("bash, which the documents' commands are for");
        let pid = shell.id().expect("a running shell");
        let sandbox = without_scheme(&world.sandbox.world().origin());
        let (_, port) = sandbox.rsplit_once(':').expect("a port");
        Self {
            stdin: shell.stdin.take().expect("its input"),
            shell,
            group: Pid::from_raw(pid.try_into().expect("a process id")),
            folder,
            instead: vec![
                ("localhost:8080", without_scheme(&world.server.address)),
                ("localhost:9999", sandbox.clone()),
                // The reader's own build command.
                ("npm run build", "sh build.sh".to_owned()),
            ],
            sites: format!(".localhost:{port}"),
            typed: 0,
        }
    }

    /// Types the commands of a block.
    ///
    /// # Panics
    /// When one fails, or prints something else than the document says.
    pub async fn run(&mut self, block: &Block, place: &str) {
        for command in block.commands() {
            let (code, output, errors) = self.type_in(&command.text, place).await;
            let shown = format!("{place}: `{}`\n{output}\n{errors}", command.text);
            assert_eq!(code, "0", "exit code of {shown}");
            let expected = command.prints.join("\n");
            assert!(
                command.printed(&output),
                "should print\n{expected}\n{shown}"
            );
        }
    }

    async fn type_in(&mut self, command: &str, place: &str) -> (String, String, String) {
        self.typed += 1;
        let number = self.typed;
        let command = self
            .instead
            .iter()
            .fold(command.to_owned(), |text, (said, is)| {
                text.replace(said, is)
            });
        // The exit code appears last, and all at once.
        let typed = format!(
            "{{ {command}\n}} </dev/null >{number}.out 2>{number}.err; echo $? >{number}.tmp; mv {number}.tmp {number}.code\n"
        );
        self.stdin
            .write_all(typed.as_bytes())
            .await
            .expect("a shell that reads");
        let read = |kind: &str| fs::read_to_string(self.folder.join(format!("{number}.{kind}")));
        let code = until(place, async || {
            let ended = self.shell.try_wait().expect("a child");
            assert_eq!(ended, None, "{place}: the shell ended at `{command}`");
            read("code").ok()
        });
        let code = code.await.trim().to_owned();
        let output = read("out").expect("its output");
        let output = output
            .replace(&self.sites, ".netlify.app")
            .replace("http://", "https://");
        (code, output, read("err").expect("its errors"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = killpg(self.group, Signal::SIGKILL);
    }
}

/// `linkbroker` as built, and a `gh` that knows one thing.
fn put_programs(bin: &Path) {
    symlink(env!("CARGO_BIN_EXE_linkbroker"), bin.join("linkbroker")).expect("a link");
    let gh = bin.join("gh");
    let script = format!("#!/bin/sh\n[ \"$*\" = 'auth token' ] && echo {GITHUB_TOKEN}\n");
    fs::write(&gh, script).expect("a file");
    fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn shell(world: &World, folder: &Path, bin: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = [
        ("PATH", format!("{}:{path}", bin.display())),
        ("HOME", folder.display().to_string()),
        ("LINKBROKER_URL", world.server.address.clone()),
        ("NETLIFY_AUTH_TOKEN", NETLIFY_TOKEN.to_owned()),
        ("GITHUB_TOKEN", GITHUB_TOKEN.to_owned()),
        ("TOKEN", world.client.token().expect("a token")),
    ];
    let settings = world.settings().iter().cloned().chain(own);
    let mut bash = Command::new("bash");
    bash.args(["-O", "expand_aliases"])
        .env_clear()
        .envs(settings)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    bash
}

fn without_scheme(address: &str) -> String {
    let (_, rest) = address.split_once("://").expect("an address");
    rest.to_owned()
}
