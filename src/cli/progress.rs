//! What a person sees while a command waits: a line for each step on a terminal, else a line for
//! each change. It goes to standard error, so that standard output holds the result alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use console::user_attended_stderr;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use time::OffsetDateTime;

use super::Output;
use super::step_line::{Mark, StepLine, is_undoing, title};
use super::terminal::plain;
use crate::api::links::view::{Link, StepView};
use crate::link::plan::StepName;
use crate::link::status::LinkStatus;

/// Between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Shows how a link goes on.
pub enum Progress {
    /// Nothing, for programs.
    Silent,
    /// A line for each change.
    Lines(Lines),
    /// A line for each step, drawn anew.
    Live(Live),
}

impl Progress {
    /// What fits the output and the terminal.
    pub fn new(output: Output) -> Self {
        match output {
            Output::Json => Self::Silent,
            Output::Human if user_attended_stderr() => Self::Live(Live::default()),
            Output::Human => Self::Lines(Lines::new()),
        }
    }

    /// Shows a link as it is now.
    pub fn show(&mut self, link: &Link) {
        match self {
            Self::Silent => {}
            Self::Lines(lines) => lines.show(link),
            Self::Live(live) => live.show(link),
        }
    }

    /// Tells something that no step can tell.
    pub fn tell(&mut self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Lines(lines) => lines.print(text),
            Self::Live(live) => live.print(text),
        }
    }
}

/// What was last told of a link.
pub struct Lines {
    begun: Instant,
    status: Option<LinkStatus>,
    steps: BTreeMap<StepName, StepLine>,
    deploy: Option<String>,
}

impl Lines {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            status: None,
            steps: BTreeMap::new(),
            deploy: None,
        }
    }

    fn show(&mut self, link: &Link) {
        for news in self.news(link) {
            self.print(&news);
        }
    }

    /// What has changed since the last time, a line each.
    fn news(&mut self, link: &Link) -> Vec<String> {
        let status = link.summary.status;
        let mut news = self.step_news(link);
        let deploy = deploy_line(link).filter(|_| self.deploy != deploy_line(link));
        if let Some(deploy) = deploy {
            news.push(deploy.clone());
            self.deploy = Some(deploy);
        }
        if self.status.replace(status) != Some(status) {
            // What is under way comes before its steps, how it ended after them.
            let at = if status.is_settled() { news.len() } else { 0 };
            news.insert(at, status.to_string());
        }
        news
    }

    fn step_news(&mut self, link: &Link) -> Vec<String> {
        let mut news = Vec::new();
        for step in &link.steps {
            let Some(line) = StepLine::of(step, link.summary.status) else {
                continue;
            };
            if line.mark != Mark::Open && self.steps.get(&step.name) != Some(&line) {
                let title = title(step.name);
                let text = format!("{} {title}  {}", line.mark.sign(true), line.note);
                news.push(text.trim_end().to_owned());
                self.steps.insert(step.name, line);
            }
        }
        news
    }

    fn print(&self, text: &str) {
        eprintln!("{:6.1}s  {text}", self.begun.elapsed().as_secs_f64());
    }
}

/// Build and deploy in Netlify's own words; absent once the link is taken back.
fn deploy_line(link: &Link) -> Option<String> {
    if is_undoing(link.summary.status) {
        return None;
    }
    let deploy = link.summary.deploy.as_ref()?;
    let build = link.summary.build.as_ref();
    let build = build.map(|build| format!(" (build {})", build.id));
    let text = format!(
        "deploy {}{}: {}",
        deploy.id,
        build.unwrap_or_default(),
        deploy.state
    );
    Some(plain(&text))
}

/// The lines on the terminal.
#[derive(Default)]
pub struct Live {
    all: MultiProgress,
    steps: BTreeMap<StepName, (StepLine, ProgressBar)>,
}

impl Live {
    fn show(&mut self, link: &Link) {
        for step in &link.steps {
            let Some(mut line) = StepLine::of(step, link.summary.status) else {
                continue;
            };
            if step.name == StepName::WatchDeploy && line.mark == Mark::Active {
                line.note = deploy_line(link).unwrap_or(line.note);
            }
            self.show_step(step, line);
        }
    }

    fn show_step(&mut self, step: &StepView, line: StepLine) {
        let (shown, bar) = self.steps.entry(step.name).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.set_prefix(title(step.name));
            // Differs from every real line, so that the first one is drawn.
            let nothing = StepLine {
                mark: Mark::Open,
                note: "\0".to_owned(),
            };
            (nothing, bar)
        });
        if *shown == line {
            return;
        }
        if shown.mark != line.mark || shown.note == "\0" {
            begin(bar, line.mark, step.started_at);
        }
        bar.set_message(line.note.clone());
        bar.tick();
        *shown = line;
    }

    fn print(&self, text: &str) {
        // Only a terminal that is gone cannot be written to, and then nobody reads it.
        let _ = self.all.println(text);
    }
}

/// Gives a line the look of its mark; an active one turns and counts the time.
fn begin(bar: &ProgressBar, mark: Mark, started_at: Option<OffsetDateTime>) {
    let template = match mark {
        Mark::Active => "{spinner:.cyan} {prefix:31} {elapsed:.dim}  {wide_msg}".to_owned(),
        _ => format!("{} {{prefix:31}} {{wide_msg}}", mark.sign(true)),
    };
    let style =
        ProgressStyle::with_template(&template).map(|style| style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    match mark {
        Mark::Active => {
            let since = started_at.map(|at| OffsetDateTime::now_utc() - at);
            bar.set_elapsed(
                since
                    .and_then(|since| since.try_into().ok())
                    .unwrap_or_default(),
            );
            bar.enable_steady_tick(TICK);
        }
        _ => bar.disable_steady_tick(),
    }
}

impl Drop for Live {
    /// Leaves the lines on the terminal as they are.
    fn drop(&mut self) {
        for (_, bar) in self.steps.values() {
            bar.disable_steady_tick();
            bar.abandon();
        }
    }
}
