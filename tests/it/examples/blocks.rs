//! The examples of a Markdown document: its fenced blocks, each with the comment before it.

/// Begins the comment that says why an example is not run.
const EXCUSE: &str = "not run: ";

/// One fenced block.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Where it begins, from 1.
    pub line: usize,
    /// What stands behind the fence, e.g. `console`.
    pub language: String,
    /// Inside of the HTML comment on the line before; empty without one.
    pub comment: String,
    /// What it holds.
    pub text: String,
}

/// A command of a `console` block, and what the document says that it prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub text: String,
    pub prints: Vec<String>,
}

impl Block {
    /// Whether the document says why it is not run.
    pub fn is_excused(&self) -> bool {
        let reason = self.comment.strip_prefix(EXCUSE);
        reason.is_some_and(|reason| !reason.trim().is_empty())
    }

    /// What is typed after each `$ `. A command goes on behind a backslash and inside of single quotes.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(typed), _) => commands.push(Command {
                    text: typed.to_owned(),
                    prints: Vec::new(),
                }),
                (None, Some(last)) if last.goes_on() => last.text += &format!("\n{line}"),
                (None, Some(last)) => last.prints.push(line.to_owned()),
                (None, None) => panic!("line {}: begin commands with `$ `", self.line),
            }
        }
        commands
    }
}

impl Command {
    fn goes_on(&self) -> bool {
        self.text.ends_with('\\') || self.text.matches('\'').count() % 2 == 1
    }

    /// Whether it printed what the document says: `…` stands for anything, on a line of its own for any lines.
    pub fn printed(&self, output: &str) -> bool {
        self.prints.is_empty() || lines_match(&self.prints, &output.lines().collect::<Vec<_>>())
    }
}

fn lines_match(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "…" => {
            (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && lines_match(rest, others)),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(line) = line.strip_prefix(start) else {
        return false;
    };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.into_iter().any(|at| line_matches(rest, &line[at..]))
}

/// All blocks of a document.
///
/// # Panics
/// When one does not end.
pub fn of(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (index, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    line: index + 1,
                    language: language.to_owned(),
                    comment: comment(before).to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take());
                before = "";
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => before = line,
        }
    }
    assert_eq!(open, None, "a block does not end");
    blocks
}

fn comment(line: &str) -> &str {
    let inside = line
        .strip_prefix("<!--")
        .and_then(|line| line.strip_suffix("-->"));
    inside.unwrap_or_default().trim()
}

#[test]
fn commands_are_told_from_what_they_print() {
    let document = "Words\n<!-- not run: no -->\n```console\n$ a \\\n  -b\n$ c 'd\ne'   # f\nxyz\n…\nend\n```\n";
    let blocks = of(document);
    let commands = blocks[0].commands();
    assert_eq!(
        (blocks.len(), blocks[0].line, blocks[0].is_excused()),
        (1, 3, true)
    );
    assert_eq!(commands[0].text, "a \\\n  -b");
    assert_eq!(commands[1].text, "c 'd\ne'   # f");
    assert!(commands[0].printed("anything"));
    assert!(commands[1].printed("xyz\nend\n") && commands[1].printed("xyz\n1\n2\nend"));
    assert!(!commands[1].printed("xyz\n") && !commands[1].printed("xyz\nend\nmore"));
}

#[test]
fn an_ellipsis_stands_for_anything_in_its_line() {
    assert!(line_matches("lbk_…", "lbk_1") && line_matches("a … c…", "a b c"));
    assert!(!line_matches("lbk_…", "x") && !line_matches("a…c", "a b"));
}
