//! Benchmarks: counts, and ratios within one run, printed as a table. `./dev bench` runs them with all they need;
//! docs/benchmarks.md says what they mean. They are no tests: nothing fails because a machine is slow.

mod builds;
mod claims;
mod process;
mod readers;
mod reads;
#[expect(
    dead_code,
    unused_imports,
    reason = "the world belongs to the tests, which use all of it"
)]
#[path = "../tests/it/world/mod.rs"]
mod world;

use process::Process;

/// One line of the table.
struct Line {
    what: String,
    value: String,
}

impl Line {
    fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            value: value.into(),
        }
    }
}

const NAMES: [&str; 5] = ["readers", "claims", "reads", "builds", "idle"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // cargo adds an option of its own.
    let mut names: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if names == [reads::BARE] {
        return reads::serve_bare().await;
    }
    if names.is_empty() {
        names = NAMES.map(str::to_owned).to_vec();
    }
    for name in names {
        let lines = match name.as_str() {
            "readers" => readers::run().await?,
            "claims" => claims::run().await?,
            "reads" => reads::run().await?,
            "builds" => builds::run().await?,
            "idle" => builds::idle().await?,
            _ => anyhow::bail!(
                "there is no benchmark {name}; there are {}",
                NAMES.join(", ")
            ),
        };
        print(&name, &lines);
    }
    Ok(())
}

/// As Markdown, to be put into docs/benchmarks.md as it is.
fn print(name: &str, lines: &[Line]) {
    println!("\n| {name} | |\n|---|---|");
    for Line { what, value } in lines {
        println!("| {what} | {value} |");
    }
}
