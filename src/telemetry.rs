//! What the service says about itself: the log, and the metrics for Prometheus.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::{Log, LogFormat};

/// Libraries whose finest logs can hold headers and bodies, so secrets. A filter has to name them to
/// get more than this.
const WIRE: [&str; 6] = [
    "h2=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "rustls=info",
    "sqlx=info",
];

/// Upper bounds, in seconds, for everything that is measured in seconds.
const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Pause between two rounds of moving new samples into their histograms.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Starts the log, on standard error. At most once in a process.
///
/// # Errors
/// When there is a log already.
pub fn start_log(log: &Log) -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.filter)?)
        .with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Human => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(|why| anyhow::anyhow!(why))
}

fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(text)?;
    let named = |library: &str| text.split(',').any(|part| part.trim().starts_with(library));
    for directive in WIRE {
        let (library, _) = directive.split_once('=').unwrap_or((directive, ""));
        if !named(library) {
            filter = filter.add_directive(directive.parse::<Directive>()?);
        }
    }
    Ok(filter)
}

/// Starts the metrics; the handle renders them. At most once in a process, within Tokio.
///
/// # Errors
/// When there is a recorder already.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    tokio::spawn(keep_up(handle.clone()));
    Ok(handle)
}

async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_logs_stay_off_unless_they_are_named() {
        let at_trace = filter("trace").unwrap().to_string();
        assert!(
            at_trace.contains("h2=info") && at_trace.contains("trace"),
            "{at_trace}"
        );
        let named = filter("info,h2=trace").unwrap().to_string();
        assert!(
            named.contains("h2=trace") && !named.contains("h2=info"),
            "{named}"
        );
        let quieter = filter("error").unwrap().to_string();
        assert!(quieter.contains("error"), "{quieter}");
    }
}
