//! Makes text from outside fit to be stored and shown: no secrets, no control characters, short.

use std::sync::LazyLock;

use regex::Regex;
use secrecy::ExposeSecret;

use crate::link::environment::Environment;

/// What stands where a secret stood.
pub const MASK: &str = "[redacted]";

/// Longest quotation of an upstream, in characters.
pub const EXCERPT_CHARS: usize = 200;

/// Shorter text is no secret, and would mask a part of nearly everything.
const SECRET_MIN: usize = 4;

/// Shapes of secrets and what replaces them. The crate's Unicode tables are not built in, hence the ASCII groups.
static SECRETS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // Credentials in an address: https://user:token@host
        (r"://[^/ @]+@", "://[redacted]@"),
        // GitHub, GitLab, Netlify, npm, Slack, Stripe and AWS tokens by their prefixes.
        (
            r"(?-u:\b(?:gh[pousr]_|github_pat_|glpat-|nf[puocb]_|npm_|xox[abeprs]-|[sr]k_live_|AKIA|ASIA)[A-Za-z0-9_\-]{8,})",
            MASK,
        ),
        // JSON web tokens.
        (
            r"(?-u:\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)?)",
            MASK,
        ),
        // Authorization headers.
        (r"(?i-u:\b(bearer|basic) [a-z0-9._~+/=\-]{8,})", "$1 [redacted]"),
        // `API_TOKEN=value`, `"password": "value"`.
        (
            r#"((?i-u:[a-z0-9_\-]*(?:token|secret|passw(?:or)?d|api_?key|private_?key|credential)[a-z0-9_\-]*["']? ?[=:] ?))["']?[^ "']+["']?"#,
            "${1}[redacted]",
        ),
    ]
    .into_iter()
    .map(|(shape, mask)| (Regex::new(shape).expect("shapes are constants, tried by the tests"), mask))
    .collect()
});

/// `text` on one line, with secrets masked and control characters dropped.
pub fn line(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for word in strip_escapes(text).split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.extend(word.chars().filter(|c| !c.is_control()));
    }
    for (shape, mask) in SECRETS.iter() {
        clean = shape.replace_all(&clean, *mask).into_owned();
    }
    clean
}

/// [`line()`], cut to [`EXCERPT_CHARS`].
pub fn excerpt(text: &str) -> String {
    let clean = line(text);
    match clean.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// `text` without any line of a known secret, as it is and as JSON writes it; lines below 4 bytes stay.
pub fn without(text: &str, secret: &str) -> String {
    let lines = secret
        .lines()
        .filter(|line| line.trim().len() >= SECRET_MIN);
    lines.fold(text.to_owned(), |text, line| {
        let quoted = serde_json::Value::from(line).to_string();
        let escaped = &quoted[1..quoted.len() - 1];
        text.replace(line, MASK).replace(escaped, MASK)
    })
}

/// [`without`] the value of any of these variables.
pub fn without_values(text: &str, environment: &Environment) -> String {
    let values = environment.values();
    values.fold(text.to_owned(), |text, variable| {
        without(&text, variable.value.expose_secret())
    })
}

/// Build logs colour their lines; the escape sequences would leave litter such as `[31m`.
fn strip_escapes(text: &str) -> String {
    static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").expect("a constant, tried by the tests")
    });
    ESCAPES.replace_all(text, "").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for (text, clean) in [
            (
                "clone https://bob:hunter2@github.com/acme/docs",
                "clone https://[redacted]@github.com/acme/docs",
            ),
            ("token ghp_0123456789abcdef bad", "token [redacted] bad"),
            ("github_pat_11AAAAAAA0abcdefgh_xyz", "[redacted]"),
            (
                "Authorization: Bearer abc.def-123456",
                "Authorization: Bearer [redacted]",
            ),
            ("NPM_TOKEN=s3cr3t npm ci", "NPM_TOKEN=[redacted] npm ci"),
            (
                r#"{"password": "s3cr3t", "a": 1}"#,
                r#"{"password": [redacted], "a": 1}"#,
            ),
            ("nfp_abcdefgh12345678 used", "[redacted] used"),
            (
                "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end",
                "jwt [redacted] end",
            ),
        ] {
            assert_eq!(line(text), clean);
        }
    }

    #[test]
    fn known_secrets_go_in_every_line_and_spelling() {
        for (text, clean) in [
            ("a first\"line b", "a [redacted] b"),
            (
                r#"{"x": "first\"line\nsecond"}"#,
                r#"{"x": "[redacted]\n[redacted]"}"#,
            ),
            ("abc", "abc"),
        ] {
            assert_eq!(without(text, "first\"line\nsecond\nabc"), clean);
        }
    }

    #[test]
    fn harmless_text_stays() {
        for text in [
            "git@github.com: Permission denied (publickey).",
            "Deploy directory 'dist' does not exist",
            "https://docs.netlify.com/configure-builds/ tells more",
            "ssh-rsa AAAAB3NzaC1yc2E is a public key, größer than ever",
        ] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn control_characters_and_colours_go_and_length_is_limited() {
        assert_eq!(line("\u{1b}[31mred\u{1b}[0m\r\n\tnext\u{7}"), "red next");
        let long = "ü".repeat(EXCERPT_CHARS + 1);
        assert_eq!(excerpt(&long).chars().count(), EXCERPT_CHARS + 1);
        assert_eq!(excerpt("short"), "short");
    }
}
