//! What the commands ask a person, and what of others' texts they show on a terminal.

use std::io::{IsTerminal, stderr, stdin};

use anyhow::Context;
use console::{Term, strip_ansi_codes};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use secrecy::SecretString;
use tokio::sync::oneshot;

/// Whether a person can be asked.
pub fn is_attended() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks for a secret, without echo. Ctrl-C while it is typed gives up, and brings the echo back.
///
/// # Errors
/// When the terminal fails or the person gives up.
pub async fn ask_secret(question: &str) -> anyhow::Result<SecretString> {
    let terminal = Term::stderr();
    terminal.write_str(&format!("{question}: "))?;
    let echoing = tcgetattr(stdin())?;
    let (answer, asked) = oneshot::channel();
    // Not a blocking task: the runtime would wait for it at the end.
    std::thread::spawn(move || answer.send(terminal.read_secure_line()));
    tokio::select! {
        line = asked => Ok(line.context("the terminal is gone")??.trim().into()),
        interrupted = tokio::signal::ctrl_c() => {
            tcsetattr(stdin(), SetArg::TCSANOW, &echoing)?;
            interrupted?;
            anyhow::bail!("nothing was done")
        }
    }
}

/// Asks a question that only `y` or `yes` answers with yes.
///
/// # Errors
/// When the terminal fails.
pub fn confirm(question: &str) -> anyhow::Result<bool> {
    let terminal = Term::stderr();
    terminal.write_str(&format!("{question} [y/N] "))?;
    let answer = terminal.read_line()?.trim().to_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

/// A text of somebody else's (a build log, a label) without what could steer a terminal.
pub fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    strip_ansi_codes(text).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn texts_cannot_steer_the_terminal() {
        assert_eq!(
            plain("\u{1b}[31mred\u{1b}[0m\tand\u{7} more"),
            "red and  more"
        );
        assert!(!plain("\u{1b}]0;title\u{7}x").contains('\u{1b}'));
        assert_eq!(plain("schön\r\n"), "schön  ");
    }
}
