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
        Cli::Token => {
            use linkbroker::api::caller::Scope;
            let issuer = linkbroker::issuer::DevIssuer::open(std::path::Path::new("/tmp/lbdata"))?;
            let token = issuer.mint(
                &"dev".to_owned().try_into()?,
                "me",
                Scope::ALL,
                std::time::Duration::from_secs(86400),
            )?;
            print!("{}", secrecy::ExposeSecret::expose_secret(&token));
            Ok(())
        }
    }
}
