//! The command line.
use clap::Parser;
#[derive(Parser)]
enum Cli {
    Serve(Box<linkbroker::config::ServeArgs>),
    Openapi,
    Token,
}
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli::Serve(args) => {
            let config = linkbroker::config::Config::from_args(*args)?;
            tracing_subscriber::fmt()
                .with_env_filter(config.log.filter.clone())
                .init();
            let metrics =
                metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
            linkbroker::serve::run(config, metrics).await
        }
        Cli::Openapi => {
            print!("{}", linkbroker::api::document()?);
            Ok(())
        }
        Cli::Token => Ok(()),
    }
}
