//! `healthcheck`: asks the running emulator whether every listener accepts; for containers without a shell.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::endpoints::{Endpoints, reachable};
use crate::state_folder::StateFolder;

use super::request;

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let admin = admin_address(config);
    super::block_on(async {
        let answer = request::plain(admin, "/ready")
            .await
            .with_context(|| format!("no emulator answers on {admin}"))?;
        if answer.status != 200 {
            bail!("not ready: {}", answer.text());
        }
        Ok(())
    })?;
    super::print("ready")
}

/// Where the running process says it is, else where the configuration puts it.
fn admin_address(config: &Config) -> SocketAddr {
    let running =
        StateFolder::open(&config.state_dir).ok().and_then(|folder| Endpoints::read(&folder).ok().flatten());
    let address = running.and_then(|endpoints| endpoints.admin.first().copied());
    reachable(address.unwrap_or_else(|| SocketAddr::new(config.admin_bind.addresses().0, *config.admin_port)))
}
