//! `linkbroker-sandbox ask`: one request to a running sandbox, for scripts on machines without curl and jq.

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Url};
use serde_json::Value;

/// Sends one request to a running sandbox and prints the answer's body; exit code 1 when it is a refusal.
#[derive(Args)]
pub struct AskArguments {
    /// Where the sandbox listens
    #[arg(
        long,
        env = "LINKBROKER_SANDBOX",
        default_value = "http://127.0.0.1:9999",
        value_name = "URL"
    )]
    sandbox: Url,
    /// Print only this part of a JSON answer (a JSON pointer, such as /sites/created); texts without quotes
    #[arg(long, value_name = "POINTER")]
    field: Option<String>,
    /// GET, POST, PATCH or DELETE
    method: Method,
    /// The path, e.g. /__sandbox/counts or /sites/acme-docs/
    path: String,
    /// The body, as JSON
    #[arg(value_parser = super::parse_json)]
    body: Option<Value>,
}

/// Asks and prints.
///
/// # Errors
/// When the sandbox is away, refuses, or the field is not in its answer.
pub async fn run(arguments: AskArguments) -> anyhow::Result<()> {
    let url = arguments.sandbox.join(&arguments.path)?;
    // The sandbox is on this machine, whatever proxy is set for others.
    let client = Client::builder().no_proxy().build()?;
    let mut request = client.request(arguments.method, url.clone());
    if let Some(body) = &arguments.body {
        request = request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {text}");
    }
    match arguments.field {
        Some(pointer) => println!("{}", field(&text, &pointer)?),
        None => println!("{}", text.trim_end()),
    }
    Ok(())
}

fn field(text: &str, pointer: &str) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_str(text).context("the answer is not JSON")?;
    let value = answer
        .pointer(pointer)
        .with_context(|| format!("{pointer} is not in the answer"))?;
    Ok(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_printed_plainly() {
        let answer = r#"{"sites": {"created": 1, "names": ["docs"]}}"#;
        assert_eq!(field(answer, "/sites/created").expect("a field"), "1");
        assert_eq!(field(answer, "/sites/names/0").expect("a field"), "docs");
        assert!(field(answer, "/builds").is_err());
        assert!(field("<html>", "").is_err());
    }
}
