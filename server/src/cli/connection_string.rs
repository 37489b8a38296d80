//! `connection-string`: exactly the text an SDK takes. Those of policies follow from the configuration; for a
//! device's or module's the running emulator is asked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use auth::SasToken;
use clap::Args;
use hub::access::{Permissions, SharedAccessPolicy};
use hub::ids::IdentityId;
use hub::time::{Clock as _, SystemClock};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::certificates::ROOT_CERTIFICATE;
use crate::config::{AMQP_PORT_DEFAULT, Config, Origin};
use crate::endpoints::{Endpoints, reachable};
use crate::state_folder::StateFolder;

use super::{IdentityArguments, request};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Shared access policy [default: iothubowner]
    #[arg(long, value_name = "NAME", conflicts_with = "device")]
    policy: Option<String>,
    #[command(flatten)]
    identity: IdentityArguments,
    /// The built-in event hub's instead, for Event Hubs clients
    #[arg(long, conflicts_with = "device")]
    event_hub: bool,
}

pub(super) fn text(config: &Config, arguments: &Arguments) -> anyhow::Result<String> {
    let policy = arguments.policy.as_deref();
    if let Some(identity) = arguments.identity.identity()? {
        return super::block_on(of_identity(config, &identity));
    }
    let running = running(config)?.map(|(endpoints, _)| endpoints);
    let host = host_name(config, running.as_ref());
    if arguments.event_hub {
        return of_event_hub(
            config,
            &host,
            policy,
            &running.map(|endpoints| endpoints.amqp).unwrap_or_default(),
        );
    }
    of_policy(config, &host, policy)
}

/// The name given with this command, else the one the running emulator was given.
fn host_name(config: &Config, running: Option<&Endpoints>) -> String {
    match (&config.host_names.origin, running) {
        (Origin::Default, Some(endpoints)) => endpoints.host_name.clone(),
        _ => config.host_name(),
    }
}

pub(super) fn of_policy(config: &Config, host: &str, name: Option<&str>) -> anyhow::Result<String> {
    let policy = policy(config, name)?;
    Ok(format!(
        "HostName={host};SharedAccessKeyName={};SharedAccessKey={}",
        policy.name,
        policy.keys.primary.to_base64()
    ))
}

/// With `UseDevelopmentEmulator=true`, so that clients speak plain AMQP and need no certificate
/// (contract/eventhubs.md 1). `listening` are the plain AMQP addresses of the running process, if any.
pub(super) fn of_event_hub(
    config: &Config,
    host: &str,
    name: Option<&str>,
    listening: &[SocketAddr],
) -> anyhow::Result<String> {
    let policy = policy(config, name)?;
    let port = match listening.first().map_or(*config.amqp_port, SocketAddr::port) {
        AMQP_PORT_DEFAULT => String::new(),
        port => format!(":{port}"),
    };
    Ok(format!(
        "Endpoint=sb://{host}{port};SharedAccessKeyName={};SharedAccessKey={};EntityPath={};UseDevelopmentEmulator=true",
        policy.name,
        policy.keys.primary.to_base64(),
        *config.hub_name
    ))
}

fn policy<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a SharedAccessPolicy> {
    let name = name.unwrap_or("iothubowner");
    let found = config.policies.iter().find(|policy| policy.name.as_str() == name);
    found.with_context(|| {
        let names: Vec<_> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
        format!("there is no policy '{name}'; there are {}", names.join(", "))
    })
}

async fn of_identity(config: &Config, identity: &IdentityId) -> anyhow::Result<String> {
    let (endpoints, root) = running(config)?.context("no emulator is running that uses this state folder")?;
    let address =
        endpoints.https.first().copied().map(reachable).context("the emulator has no HTTPS listener")?;
    let reader =
        config.policies.iter().find(|policy| policy.permissions.contains(Permissions::REGISTRY_READ));
    let reader = reader.context("no policy may read the registry")?;
    let expires_at = SystemClock.now().plus(TOKEN_LIFE);
    let token = SasToken::sign("localhost", &reader.keys.primary, expires_at, Some(&reader.name));

    let encoded = |id: &str| utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
    let module = identity.module.as_ref().map(|module| format!("/modules/{}", encoded(module.as_str())));
    let path = format!(
        "/devices/{}{}?api-version=2021-04-12",
        encoded(identity.device.as_str()),
        module.unwrap_or_default()
    );
    let answer =
        request::secure(address, &root, &path, &token).await.context("the emulator does not answer")?;
    match answer.status {
        200 => {}
        404 => bail!("'{identity}' is not registered"),
        status => bail!("the emulator answered {status}: {}", answer.text()),
    }
    let found: Value = serde_json::from_slice(&answer.body).context("the emulator's answer is no JSON")?;
    let authentication = &found["authentication"];
    let proof = match (authentication["type"].as_str(), authentication["symmetricKey"]["primaryKey"].as_str())
    {
        (Some("sas"), Some(key)) => format!("SharedAccessKey={key}"),
        (Some("selfSigned" | "certificateAuthority"), _) => "x509=true".to_owned(),
        (kind, _) => bail!("'{identity}' cannot log in: its authentication is {}", kind.unwrap_or("unknown")),
    };
    let module = identity.module.as_ref().map(|module| format!("ModuleId={module};")).unwrap_or_default();
    let host = host_name(config, Some(&endpoints));
    Ok(format!("HostName={host};DeviceId={};{module}{proof}", identity.device))
}

/// The running process' addresses and the root certificate it serves under.
fn running(config: &Config) -> anyhow::Result<Option<(Endpoints, String)>> {
    if !config.state_dir.is_dir() {
        return Ok(None);
    }
    let folder = StateFolder::open(&config.state_dir)?;
    let Some(endpoints) = Endpoints::read(&folder)? else { return Ok(None) };
    Ok(folder.read(ROOT_CERTIFICATE)?.map(|root| (endpoints, root)))
}

const TOKEN_LIFE: Duration = Duration::from_secs(60);
