//! The page of the docs about faults: the rules, and for each upstream what became of every cell.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use linkbroker_sandbox::Upstream;

use super::call::{Kind, word};
use super::expected::{Class, told};
use super::table::{Cell, Outcome};
use super::wrong::ALL;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")
}

/// The page in the repository.
fn page() -> String {
    std::fs::read_to_string(file()).expect("the page")
}

const INTRODUCTION: &str = "# When calls to upstreams go wrong

Each row is something that goes wrong once with one call, and what becomes of the link. *Tries again* is a counted attempt with a growing pause;
before it does anything a second time, the step looks whether the first try had its effect. *Waits* costs no attempt. What ends in `action_required`,
`failed` or `degraded` says why, and a retry mends it once the cause is gone. In every case there is one of everything at the end, nothing is left
after unlinking, no token goes to another host or into an answer of the API, and no answer takes more than 8 MiB of memory.

`./dev faults` plays every row at every call and writes this page; `./dev faults UPSTREAM` plays the calls of one upstream; `./dev test` plays a tenth, another
one each day, and compares it with this page. The calls are those of a run without faults in every way of linking, so a new call is in by itself. Where a row
names several ends, it depends on the call: an answer that nobody reads cannot be wrong, what only looks ahead is looked for again
where it is needed, and what fails while a push is being proved leaves the site up (`degraded`).

That a removal is answered with 404 means that it is done, once a further call has shown that the place itself can be seen. What a patrol
cannot see (`/builds/status`, which looks at the builds of many links at once) it sees a little later. A certificate that is not trusted ends as a connection that is refused does: nothing was sent.

|  | what goes wrong | when reading | when writing | when removing |
|---|---|---|---|---|
";

const LEGEND: &str = "
## Call by call

The columns are the rows above. `·` goes on, `r` tries again, `w` waits, `A` `action_required`, `F` `failed`, `D` `degraded`; empty: it cannot happen there, or the
call, which is not made every time, did not come.
";

/// The introduction and the rules.
fn rules() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (number, wrong) in (1..).zip(ALL) {
        let of = |kind| told(wrong.ends.of(kind));
        let (reads, writes, removes) = (of(Kind::Reads), of(Kind::Writes), of(Kind::Removes));
        let what = wrong.what;
        let line = writeln!(
            page,
            "| {number} | {what} | {reads} | {writes} | {removes} |"
        );
        line.expect("a text grows");
    }
    page + LEGEND
}

fn heading(upstream: Upstream) -> String {
    format!("### {}", word(upstream))
}

/// The section of each upstream, as it is in the page.
fn sections() -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    for section in page().split("\n### ").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        sections.insert(
            format!("### {heading}"),
            format!("### {}\n", section.trim_end()),
        );
    }
    sections
}

/// An upstream's cells, all of them played.
fn section(upstream: Upstream, outcomes: &[Outcome]) -> String {
    let mut rows: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for outcome in outcomes
        .iter()
        .filter(|it| it.cell.call.upstream == upstream)
    {
        let row = rows.entry(outcome.cell.call.to_string());
        let row = row.or_insert_with(|| vec![' '; ALL.len()]);
        row[column(&outcome.cell)] = match &outcome.ended {
            Ok(end) => end.class.letter(),
            Err(_) if outcome.is_made() => '!',
            Err(_) => ' ',
        };
    }
    let numbers: Vec<_> = (1..=ALL.len()).map(|number| number.to_string()).collect();
    let mut section = format!(
        "{}\n\n| | {} |\n|---|{}\n",
        heading(upstream),
        numbers.join(" | "),
        "---|".repeat(ALL.len())
    );
    for (call, row) in rows {
        let row: Vec<_> = row.iter().map(char::to_string).collect();
        writeln!(section, "| {call} | {} |", row.join(" | ")).expect("a text grows");
    }
    section
}

fn column(cell: &Cell) -> usize {
    let found = ALL.iter().position(|wrong| std::ptr::eq(wrong, cell.wrong));
    found.expect("one of all")
}

/// How a cell ended when the page was written: `None` for a call that it does not know, nothing within for a cell that was left out,
/// as all are of an upstream that has no section yet.
pub fn recorded(cell: &Cell) -> Option<Option<Class>> {
    let Some(section) = sections().remove(&heading(cell.call.upstream)) else {
        return Some(None);
    };
    let begin = format!("| {} | ", cell.call);
    let row = section.lines().find_map(|line| line.strip_prefix(&begin))?;
    let letter = row.split(" | ").nth(column(cell))?.chars().next()?;
    Some(Class::of_letter(letter))
}

/// Whether its rules are those of the tests.
pub fn has_the_rules() -> bool {
    page().starts_with(&rules())
}

/// Writes the page; of the upstreams that were not played, the sections stay.
pub fn write(outcomes: &[Outcome]) {
    let mut sections = sections();
    for outcome in outcomes {
        let upstream = outcome.cell.call.upstream;
        sections.insert(heading(upstream), section(upstream, outcomes));
    }
    let sections: Vec<_> = sections.into_values().collect();
    let page = format!("{}\n{}", rules(), sections.join("\n"));
    std::fs::write(file(), page).expect("the page can be written");
}
