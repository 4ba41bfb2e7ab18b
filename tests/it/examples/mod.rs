//! Every example in the documents works: commands run against a server and a sandbox of the document's own, in the order in
//! which they stand there; JSON is what its schema says; settings are accepted.
//!
//! What cannot run here says why, in a comment before it: `<!-- not run: … -->`.

mod blocks;
mod session;

use std::path::{Path, PathBuf};

use linkbroker_sandbox::FaultRule;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::world::{Description, World};
use blocks::Block;
use session::Session;

/// Documents with examples; one test below runs each.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "docs/api.md",
    "docs/benchmarks.md",
    "docs/cli.md",
    "docs/runbook.md",
    "sandbox/README.md",
];
/// Tokens of somebody who belongs to the team `acme`, which the examples name.
const NETLIFY_TOKEN: &str = "netlify-token-of-acme";
const GITHUB_TOKEN: &str = linkbroker_sandbox::GITHUB_TOKEN;

#[tokio::test]
async fn the_readme_tells_what_works() {
    run("README.md").await;
}

#[tokio::test]
async fn the_page_on_the_api_tells_what_works() {
    run("docs/api.md").await;
}

#[tokio::test]
async fn the_page_on_benchmarks_tells_what_works() {
    run("docs/benchmarks.md").await;
}

#[tokio::test]
async fn the_page_on_the_command_line_tells_what_works() {
    run("docs/cli.md").await;
}

#[tokio::test]
async fn the_runbook_tells_what_works() {
    run("docs/runbook.md").await;
}

#[tokio::test]
async fn the_sandboxs_readme_tells_what_works() {
    run("sandbox/README.md").await;
}

#[test]
fn no_other_document_has_examples() {
    let mut with_examples = Vec::new();
    for folder in [
        ".",
        "docs",
        "docs/adr",
        "sandbox",
        "sandbox/contracts",
        "tests",
    ] {
        let Ok(entries) = root().join(folder).read_dir() else {
            continue;
        };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        with_examples.extend(paths.filter(|path| has_examples(path)));
    }
    let known = DOCUMENTS.map(|document| root().join(document));
    let is_known = |path: &PathBuf| known.iter().any(|known| same(known, path));
    with_examples.retain(|path| !is_known(path));
    assert!(
        with_examples.is_empty(),
        "add them to DOCUMENTS, with a test each: {with_examples:?}"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn same(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok() == other.canonicalize().ok()
}

fn has_examples(path: &Path) -> bool {
    let is_document = path.extension().is_some_and(|extension| extension == "md");
    is_document && !blocks::of(&text_of(path)).is_empty()
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a document's examples.
async fn run(document: &str) {
    assert!(DOCUMENTS.contains(&document), "{document} is not listed");
    let blocks = blocks::of(&text_of(&root().join(document)));
    assert!(!blocks.is_empty(), "{document} has no examples");
    let blocks: Vec<_> = blocks
        .into_iter()
        .filter(|block| !block.is_excused())
        .collect();
    if blocks.is_empty() {
        return;
    }
    let world = world().await;
    let mut session = Session::start(&world);
    for block in &blocks {
        let place = format!("{document}, line {}", block.line);
        match block.language.as_str() {
            "console" => session.run(block, &place).await,
            "json" => check_json(&world, block, &place),
            "toml" => check_settings(&world, block, &place).await,
            "sql" => run_sql(&world, block, &place).await,
            // A picture.
            "text" => {}
            other => panic!(
                "{place}: nobody knows how to run `{other}`; run it, or say before it why not: <!-- not run: … -->"
            ),
        }
    }
}

/// With the private repository `acme/docs`, which builds with `sh build.sh`, and a Netlify team `acme`.
async fn world() -> World {
    let world = World::empty(Default::default()).await;
    world.repository("docs").await;
    let token = json!({"netlify": {"token": NETLIFY_TOKEN, "accounts": ["acme"]}});
    let address = format!("{}/tokens", world.sandbox.admin_url());
    let made = reqwest::Client::new()
        .post(address)
        .json(&token)
        .send()
        .await;
    assert!(made.expect("an answer").status().is_success());
    world
}

/// `<!-- schema: NAME -->` names what it is in `openapi.yaml`, `<!-- fault -->` a fault of the sandbox.
fn check_json(world: &World, block: &Block, place: &str) {
    let value: Value = serde_json::from_str(&block.text)
        .unwrap_or_else(|error| panic!("{place}: this is no JSON: {error}"));
    match block.comment.split_once(": ") {
        Some(("schema", name)) => Description::get().check_named(name, &value, place),
        None if block.comment == "fault" => {
            let rule: Result<FaultRule, _> = serde_json::from_value(value);
            let rule = rule.unwrap_or_else(|error| panic!("{place}: {error}"));
            world.sandbox.add_fault(rule).expect(place);
        }
        _ => panic!("{place}: say before it what it is: <!-- schema: … -->"),
    }
}

/// The first line names the file, and so the setting.
async fn check_settings(world: &World, block: &Block, place: &str) {
    let file = block.text.lines().next().unwrap_or_default();
    let setting = match file {
        "# grants.toml" => "LINKBROKER_GRANTS",
        "# issuers.toml" => "LINKBROKER_ISSUERS",
        "# providers.toml" => "LINKBROKER_PROVIDERS",
        _ => panic!("{place}: the first line should name the file, e.g. `# issuers.toml`"),
    };
    let path = world.folder().join(file.trim_start_matches("# "));
    std::fs::write(&path, &block.text).expect("a file");
    let keyring = world.run(&["keys", "new"]).await.expect(0).json()["key"].clone();
    let mut check = world.command(&["config", "check"]);
    check.env("LINKBROKER_KEYRING", keyring.as_str().expect("a key ring"));
    // So that a file of anything but issuers is enough.
    check.env("LINKBROKER_API_KEYS", "on");
    check.env(setting, path);
    let output = check.output().await.expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{place}: {said}");
}

async fn run_sql(world: &World, block: &Block, place: &str) {
    let owner = PgConnection::connect(&world.database.url).await;
    let text = sqlx::AssertSqlSafe(block.text.as_str());
    let done = owner.expect("a connection").execute(text).await;
    done.unwrap_or_else(|error| panic!("{place}: {error}"));
}
