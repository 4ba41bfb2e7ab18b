//! The page of the docs about faults.

use std::fmt::Write;
use std::path::Path;

use super::call::Kind;
use super::expected::told;
use super::wrong::ALL;

/// The page in the repository.
pub const DOCS: &str = include_str!("../../../docs/faults.md");

const INTRODUCTION: &str = "# When calls to upstreams go wrong

Each row is something that goes wrong once with one call, and what becomes of the link. *Tries again* is a counted attempt with a growing pause;
before it does anything a second time, the step looks whether the first try had its effect. *Waits* costs no attempt. What ends in `action_required`,
`failed` or `degraded` says why, and a retry mends it once the cause is gone. In every case there is one of everything at the end, nothing is left
after unlinking, no token goes to another host, and no answer takes more than 8 MiB of memory.

`./dev faults` plays every row at every call of every way of linking; `./dev test` plays a sample. Where a cell names several ends, it
depends on the call: an answer that nobody reads cannot be wrong, and what fails while a push is being proved leaves the site up (`degraded`).

| what goes wrong | when reading | when writing | when removing |
|---|---|---|---|
";

/// What it has to say.
pub fn text() -> String {
    let mut page = INTRODUCTION.to_owned();
    for wrong in ALL {
        let of = |kind| told(wrong.ends.of(kind));
        let (reads, writes, removes) = (of(Kind::Reads), of(Kind::Writes), of(Kind::Removes));
        let line = writeln!(page, "| {} | {reads} | {writes} | {removes} |", wrong.what);
        line.expect("a text grows");
    }
    page
}

/// Writes the page.
pub fn write() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    std::fs::write(file, text()).expect("the page can be written");
}
