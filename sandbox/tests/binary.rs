//! The program: announces itself, serves, and ends cleanly on a signal.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn it_announces_itself_serves_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let ready = folder.path().join("ready.json");
    let mut program = start(&["--ready-file".as_ref(), ready.as_os_str()], folder.path());
    wait("the file", &mut program, |_| ready.exists().then_some(()));
    let line = std::fs::read_to_string(&ready).expect("the file");
    let addresses: Value = serde_json::from_str(&line).expect("JSON");

    let url = format!(
        "{}/user",
        addresses["netlify_url"].as_str().expect("an address")
    );
    let token = addresses["netlify_token"].as_str().expect("a token");
    let answer = reqwest::Client::new()
        .get(url)
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);

    let killed = Command::new("kill")
        .arg(program.id().to_string())
        .status()
        .expect("kill");
    assert!(killed.success());
    let status = wait("its end", &mut program, |p| p.try_wait().expect("a status"));
    assert_eq!(status.code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "only the ready file stays: {left:?}");
}

#[test]
fn it_explains_a_wrong_switch() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(folder.path())
        .args(["--switches", r#"{"netlify": {"no_such_switch": 1}}"#])
        .output()
        .expect("the program");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("no_such_switch"),
        "{text}"
    );
}

fn command(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linkbroker-sandbox"));
    command
        .env("TMPDIR", temporary)
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::null());
    command
}

fn start(arguments: &[&std::ffi::OsStr], temporary: &Path) -> Child {
    command(temporary)
        .args(arguments)
        .spawn()
        .expect("the program")
}

/// Waits for a sign of life or of death.
fn wait<T>(what: &str, program: &mut Child, sign: impl Fn(&mut Child) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(sign) = sign(program) {
            return sign;
        }
        if Instant::now() > deadline {
            program.kill().expect("it can be killed");
            panic!("never happened: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
