//! The API alone, over a store in memory: `cargo run -p apiserver --example serve -- DIR ADDR:PORT`.
//! Writes `DIR/kubeconfig`; logs and exec answer from nowhere.

use std::path::PathBuf;
use std::sync::Arc;

use apimachinery::inject::{Clock, Random};
use apimachinery::status::Status;
use apiserver::node_streams::{ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams};
use apiserver::pki::Pki;
use apiserver::{ApiServer, Config};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;

struct Echo;

#[async_trait]
impl NodeStreams for Echo {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status> {
        let line = format!("{container:?} {options:?}\n");
        Ok(stream::iter([Ok(line.into())]).boxed())
    }

    async fn exec(&self, _: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status> {
        let code = options.command.last().and_then(|c| c.parse().ok()).unwrap_or(0);
        let said = format!("{:?}\n", options.command);
        Ok(ExecSession {
            stdin: None,
            stdout: Some(Box::pin(std::io::Cursor::new(said))),
            stderr: None,
            resize: None,
            exit: std::future::ready(Ok(code)).boxed(),
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "stead-example".to_owned()));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6443".to_owned()).parse()?;
    let api = ApiServer::new(Config {
        store: Arc::new(store::Memory::new()),
        service_cidr: "10.43.0.0/16".to_owned(),
        streams: Arc::new(Echo),
        tokens: Arc::new(apiserver::TokenKey::generate()?),
        clock: Clock::new(Timestamp::now),
        random: Random::seeded(1),
    });
    api.bootstrap().await?;
    let listener = apiserver::bind(address).await?;
    let address = listener.local_addr()?;
    let pki = Pki::load_or_create(&dir.join("pki"), &[address.ip().to_string()])?;
    std::fs::write(dir.join("kubeconfig"), pki.kubeconfig(&format!("https://{address}"), "stead"))?;
    println!("ready https://{address}");
    api.serve(listener, &pki, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await;
    Ok(())
}
