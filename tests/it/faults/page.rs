//! The page of the docs about faults: the rules, and for each upstream what became of every cell.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

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
one each day, and compares it with this page. An upstream that has no table below was not played whole: its calls are held to the rules alone. The calls are those of a run without faults in every way of linking, so a new call is in by itself. Where a row
names several ends, it depends on the call: an answer that nobody reads cannot be wrong, what only looks ahead is looked for again
where it is needed, and what fails while a push is being proved leaves the site up (`degraded`).

That a removal is answered with 404 means that it is done, once a further call has shown that the place itself can be seen. What a patrol
cannot see (`/builds/status`, which looks at the builds of many links at once) it sees a little later.

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

/// How the cells of a call ended, in the order of the rules.
type Row = Vec<char>;

/// The rows of each upstream, by call.
type Tables = BTreeMap<String, BTreeMap<String, Row>>;

/// As the page has them.
fn tables() -> Tables {
    let mut tables = Tables::new();
    for section in page().split("\n### ").skip(1) {
        let mut lines = section.lines();
        let upstream = lines.next().unwrap_or_default().to_owned();
        let rows = lines.filter_map(|line| {
            let (call, cells) = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")?;
            let row = cells.split(" | ").filter_map(|cell| cell.chars().next());
            Some((call.to_owned(), row.collect::<Row>()))
        });
        let rows = rows.filter(|(call, row)| call.contains(": ") && row.len() == ALL.len());
        tables.insert(upstream, rows.collect());
    }
    tables
}

fn told_table(upstream: &str, rows: &BTreeMap<String, Row>) -> String {
    let numbers: Vec<_> = (1..=ALL.len()).map(|number| number.to_string()).collect();
    let (numbers, line) = (numbers.join(" | "), "---|".repeat(ALL.len()));
    let mut table = format!("\n### {upstream}\n\n| | {numbers} |\n|---|{line}\n");
    for (call, row) in rows {
        let row: Vec<_> = row.iter().map(char::to_string).collect();
        writeln!(table, "| {call} | {} |", row.join(" | ")).expect("a text grows");
    }
    table
}

fn column(cell: &Cell) -> usize {
    let found = ALL.iter().position(|wrong| std::ptr::eq(wrong, cell.wrong));
    found.expect("one of all")
}

/// How a cell ended when the page was written: `None` for a call that it does not know, nothing within for a cell that was left out,
/// as all are of an upstream that has no table yet.
pub fn recorded(cell: &Cell) -> Option<Option<Class>> {
    match tables().get(&word(cell.call.upstream)) {
        None => Some(None),
        Some(rows) => {
            let row = rows.get(&cell.call.to_string())?;
            Some(Class::of_letter(row[column(cell)]))
        }
    }
}

/// Whether its rules are those of the tests.
pub fn has_the_rules() -> bool {
    page().starts_with(&rules())
}

/// Writes the page. What was not played stays as it is, unless `anew` says that all calls of these upstreams were.
pub fn write(outcomes: &[Outcome], anew: bool) {
    let mut tables = tables();
    if anew {
        tables.retain(|upstream, _| {
            let is_of = |outcome: &Outcome| word(outcome.cell.call.upstream) == *upstream;
            !outcomes.iter().any(is_of)
        });
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.is_made()) {
        let rows = tables.entry(word(outcome.cell.call.upstream)).or_default();
        let row = rows.entry(outcome.cell.call.to_string());
        let row = row.or_insert_with(|| vec![' '; ALL.len()]);
        row[column(&outcome.cell)] = match &outcome.ended {
            Ok(end) => end.class.letter(),
            Err(_) => '!',
        };
    }
    let tables: Vec<_> = tables
        .iter()
        .map(|(upstream, rows)| told_table(upstream, rows))
        .collect();
    let page = format!("{}{}", rules(), tables.concat());
    std::fs::write(file(), page).expect("the page can be written");
}
