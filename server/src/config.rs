//! The effective configuration: flags over `IOTHUB_EMULATOR_*` over the `--config` file over defaults, each value
//! with its origin (PRODUCT sections 1 to 4). What is here has been checked; nothing has been opened or bound yet.

mod events;
mod options;
mod scale;
mod setting;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::access::{
    Permissions, PolicyName, SharedAccessPolicy, SymmetricKey, SymmetricKeys, development_policies,
};
use hub::ids::HubName;

pub use events::{EnrichmentOptions, EventHubOptions, EventsConfig, RouteOptions, RoutingConfig};
pub use options::{
    Bind, CertificateAuthorityOptions, LogFormat, Options, Permission, PolicyOptions, TierOption,
};
pub use scale::ScaleConfig;
use setting::Picker;
pub use setting::{Origin, Setting};

/// Everything the program was told, or else assumes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTPS, MQTT and AMQP over TLS listen.
    pub bind: Setting<Bind>,
    /// Where the admin API listens.
    pub admin_bind: Setting<Bind>,
    /// Where plain AMQP listens.
    pub amqp_bind: Setting<Bind>,
    /// TCP port of HTTPS.
    pub https_port: Setting<u16>,
    /// TCP port of MQTT over TLS.
    pub mqtts_port: Setting<u16>,
    /// TCP port of AMQP over TLS.
    pub amqps_port: Setting<u16>,
    /// TCP port of plain AMQP.
    pub amqp_port: Setting<u16>,
    /// TCP port of the admin API.
    pub admin_port: Setting<u16>,
    /// The names given with `--host-name`; see [`Self::host_name`] and [`Self::all_host_names`].
    pub host_names: Setting<Vec<String>>,
    /// Where clients are sent who look for events at the hub's own address; `None` keeps them at the name they came by.
    pub redirect_host_name: Setting<Option<String>>,
    /// The hub's name.
    pub hub_name: Setting<HubName>,
    /// Tier, units, and what is enforced of them.
    pub scale: ScaleConfig,
    /// Event hubs, and what is routed to them.
    pub events: EventsConfig,
    /// Folder of certificates and `endpoints.json`.
    pub state_dir: Setting<PathBuf>,
    /// Seconds an MQTT connection outlives its token.
    pub mqtt_expiry_grace_secs: Setting<u32>,
    /// Connections per listener.
    pub max_connections: Setting<usize>,
    /// Filter of the log.
    pub log_level: Setting<String>,
    /// Shape of the log.
    pub log_format: Setting<LogFormat>,
    /// The hub's shared access policies.
    pub policies: Setting<Vec<SharedAccessPolicy>>,
    /// Certificate authorities to register as verified: name and PEM file.
    pub certificate_authorities: Setting<Vec<(String, PathBuf)>>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {error}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The file is no TOML, or has keys that mean nothing here.
    #[error("the configuration file {path} is wrong: {error}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// A value breaks a rule.
    #[error("{name} is wrong (from {origin}): {problem}")]
    Invalid {
        /// The option.
        name: &'static str,
        /// Who set it.
        origin: Origin,
        /// The rule.
        problem: String,
    },
    /// The platform does not say where programs keep state.
    #[error("this system names no folder for state (no HOME); name one with --state-dir DIR")]
    NoStateFolder,
}

impl Config {
    /// Resolves what flags and variables gave. `is_from_environment` tells for an option's name (`https_port`)
    /// which of the two it was.
    ///
    /// # Errors
    /// [`ConfigError`], naming the option, where it was set and what is allowed.
    pub fn resolve(given: Options, is_from_environment: &dyn Fn(&str) -> bool) -> Result<Self, ConfigError> {
        let path = given.config.clone();
        let file = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let from = Picker { file: path.as_deref(), is_from_environment };

        let scale = ScaleConfig::resolve(&from, &given, &file)?;
        let bind = from.pick("bind", given.bind, file.bind, Bind::Loopback);
        let private = Setting { value: bind.private(), origin: Origin::Derived("bind") };
        let admin_bind = from.pick_or("admin-bind", given.admin_bind, file.admin_bind, || private.clone());
        let amqp_bind = from.pick_or("amqp-bind", given.amqp_bind, file.amqp_bind, || private.clone());

        let host_names = from.pick("host-name", given.host_name.clone(), file.host_name.clone(), Vec::new());
        if let Some(name) = host_names.iter().find(|name| !is_host_name(name)) {
            return Err(invalid(
                "host-name",
                &host_names.origin,
                format!("'{name}' is no host name or address; no port belongs here"),
            ));
        }
        let redirect_host_name = from.pick(
            "redirect-host-name",
            given.redirect_host_name.clone().map(Some),
            file.redirect_host_name.clone().map(Some),
            None,
        );
        if let Some(name) = redirect_host_name.value.as_ref().filter(|name| !is_host_name(name)) {
            return Err(invalid(
                "redirect-host-name",
                &redirect_host_name.origin,
                format!("'{name}' is no host name or address; no port belongs here"),
            ));
        }
        let hub_name = from.pick_or("hub-name", given.hub_name.clone(), file.hub_name.clone(), || Setting {
            value: default_hub_name(&host_name(&host_names, *bind)),
            origin: Origin::Derived("host-name"),
        });
        let hub_name = checked("hub-name", hub_name, |name| {
            HubName::parse(&name).map_err(|error| error.message().to_owned())
        })?;

        let events = EventsConfig::resolve(&from, &given, &file, *scale.tier, &hub_name)?;
        let max_connections = from.pick(
            "max-connections",
            given.max_connections,
            file.max_connections,
            MAX_CONNECTIONS_DEFAULT,
        );
        let max_connections = checked("max-connections", max_connections, |count| match count {
            1..=MAX_CONNECTIONS_LIMIT => Ok(count),
            _ => Err(format!("1 to {MAX_CONNECTIONS_LIMIT} are allowed")),
        })?;

        let state_dir = match (given.state_dir, relative_to(path.as_deref(), file.state_dir)) {
            (None, None) => Setting {
                value: platform_state_folder().ok_or(ConfigError::NoStateFolder)?,
                origin: Origin::Default,
            },
            (given, in_file) => from.pick("state-dir", given, in_file, PathBuf::new()),
        };

        let is_given = !file.policy.is_empty();
        let policies = checked(
            "policy",
            from.pick("policy", None, is_given.then_some(file.policy), Vec::new()),
            policies,
        )?;
        let authorities: Vec<_> = file
            .certificate_authority
            .into_iter()
            .filter_map(|authority| {
                Some((authority.name, relative_to(path.as_deref(), Some(authority.file))?))
            })
            .collect();
        let is_given = !authorities.is_empty();

        Ok(Self {
            https_port: from.pick("https-port", given.https_port, file.https_port, 443),
            mqtts_port: from.pick("mqtts-port", given.mqtts_port, file.mqtts_port, 8883),
            amqps_port: from.pick("amqps-port", given.amqps_port, file.amqps_port, 5671),
            amqp_port: from.pick("amqp-port", given.amqp_port, file.amqp_port, AMQP_PORT_DEFAULT),
            admin_port: from.pick("admin-port", given.admin_port, file.admin_port, 8080),
            mqtt_expiry_grace_secs: from.pick(
                "mqtt-expiry-grace-secs",
                given.mqtt_expiry_grace_secs,
                file.mqtt_expiry_grace_secs,
                MQTT_EXPIRY_GRACE_SECS_DEFAULT,
            ),
            log_level: from.pick("log-level", given.log_level, file.log_level, "info".to_owned()),
            log_format: from.pick("log-format", given.log_format, file.log_format, LogFormat::Human),
            certificate_authorities: from.pick(
                "certificate-authority",
                None,
                is_given.then_some(authorities),
                Vec::new(),
            ),
            bind,
            admin_bind,
            amqp_bind,
            host_names,
            redirect_host_name,
            hub_name,
            scale,
            events,
            state_dir,
            max_connections,
            policies,
        })
    }

    /// The `HostName` of printed connection strings: the first name given; without one the address given, if it is
    /// a particular one; else `localhost`.
    pub fn host_name(&self) -> String {
        host_name(&self.host_names, *self.bind)
    }

    /// Every name and address the hub answers to: what the server certificate holds and a token may name.
    pub fn all_host_names(&self) -> Vec<String> {
        let mut names = self.host_names.value.clone();
        names.extend(["localhost", "iothub.localhost", "127.0.0.1", "::1"].map(String::from));
        if let Bind::Address(address) = *self.bind
            && !address.is_unspecified()
        {
            names.push(address.to_string());
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.to_ascii_lowercase()));
        names
    }

    /// [`Self::mqtt_expiry_grace_secs`] as a duration.
    pub fn mqtt_expiry_grace(&self) -> Duration {
        Duration::from_secs(u64::from(*self.mqtt_expiry_grace_secs))
    }

    /// The configuration as lines of a TOML file: key, value and origin. Keys of policies are not shown.
    pub fn rows(&self) -> Vec<(String, String, String)> {
        fn row(name: &str, value: impl Into<toml::Value>, origin: &Origin) -> (String, String, String) {
            (name.to_owned(), value.into().to_string(), origin.to_string())
        }
        let port = |name, setting: &Setting<u16>| row(name, i64::from(setting.value), &setting.origin);
        let bind = |name, setting: &Setting<Bind>| row(name, setting.to_string(), &setting.origin);
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let mut rows = vec![
            bind("bind", &self.bind),
            bind("admin-bind", &self.admin_bind),
            bind("amqp-bind", &self.amqp_bind),
            port("https-port", &self.https_port),
            port("mqtts-port", &self.mqtts_port),
            port("amqps-port", &self.amqps_port),
            port("amqp-port", &self.amqp_port),
            port("admin-port", &self.admin_port),
            row("host-name", self.host_names.value.clone(), &self.host_names.origin),
            row("hub-name", self.hub_name.as_str(), &self.hub_name.origin),
            row("state-dir", self.state_dir.display().to_string(), &self.state_dir.origin),
            row(
                "mqtt-expiry-grace-secs",
                i64::from(*self.mqtt_expiry_grace_secs),
                &self.mqtt_expiry_grace_secs.origin,
            ),
            row("max-connections", count(*self.max_connections), &self.max_connections.origin),
            row("log-level", self.log_level.as_str(), &self.log_level.origin),
            row(
                "log-format",
                match *self.log_format {
                    LogFormat::Human => "human",
                    LogFormat::Json => "json",
                },
                &self.log_format.origin,
            ),
        ];
        if let Some(name) = &self.redirect_host_name.value {
            rows.push(row("redirect-host-name", name.as_str(), &self.redirect_host_name.origin));
        }
        rows.extend(self.scale.rows().into_iter().map(|(name, value, origin)| row(&name, value, origin)));
        rows.extend(self.events.rows().into_iter().map(|(name, value, origin)| row(&name, value, origin)));
        rows.extend(self.policies.iter().map(|policy| {
            let name = format!("policy {}", policy.name);
            (name, policy.permissions.to_string(), self.policies.origin.to_string())
        }));
        rows.extend(self.certificate_authorities.iter().map(|(name, file)| {
            let name = format!("certificate-authority {name}");
            (name, file.display().to_string(), self.certificate_authorities.origin.to_string())
        }));
        rows
    }
}

fn read(path: &Path) -> Result<Options, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), error: Box::new(error) })
}

fn relative_to(file: Option<&Path>, path: Option<PathBuf>) -> Option<PathBuf> {
    let path = path?;
    Some(file.and_then(Path::parent).map_or_else(|| path.clone(), |folder| folder.join(&path)))
}

fn checked<T, U>(
    name: &'static str,
    setting: Setting<T>,
    check: impl FnOnce(T) -> Result<U, String>,
) -> Result<Setting<U>, ConfigError> {
    let Setting { value, origin } = setting;
    match check(value) {
        Ok(value) => Ok(Setting { value, origin }),
        Err(problem) => Err(ConfigError::Invalid { name, origin, problem }),
    }
}

fn invalid(name: &'static str, origin: &Origin, problem: String) -> ConfigError {
    ConfigError::Invalid { name, origin: origin.clone(), problem }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

fn host_name(given: &[String], bind: Bind) -> String {
    match (given.first(), bind) {
        (Some(name), _) => name.clone(),
        (None, Bind::Address(address)) if !address.is_unspecified() && address != Ipv4Addr::LOCALHOST => {
            address.to_string()
        }
        (None, _) => "localhost".to_owned(),
    }
}

fn default_hub_name(host_name: &str) -> String {
    if host_name.parse::<IpAddr>().is_ok() {
        return "iothub".to_owned();
    }
    host_name.split('.').next().unwrap_or(host_name).to_owned()
}

/// The built-in policies, those given replacing the ones of their name and joining the others.
fn policies(given: Vec<PolicyOptions>) -> Result<Vec<SharedAccessPolicy>, String> {
    let mut policies = development_policies();
    for options in given {
        let text = |error: hub::error::HubError| format!("policy '{}': {}", options.name, error.message());
        let name = PolicyName::parse(&options.name).map_err(text)?;
        let primary = SymmetricKey::from_base64(&options.primary_key).map_err(text)?;
        let secondary = match &options.secondary_key {
            Some(key) => SymmetricKey::from_base64(key).map_err(text)?,
            None => primary.clone(),
        };
        let existing = policies.iter().position(|policy| policy.name == name);
        let permissions = match (&options.permissions, existing.and_then(|index| policies.get(index))) {
            (Some(permissions), _) => {
                permissions_of(permissions).ok_or_else(|| format!("policy '{name}' has no permissions"))?
            }
            (None, Some(built_in)) => built_in.permissions,
            (None, None) => return Err(format!("policy '{name}' is new and needs permissions")),
        };
        let policy = SharedAccessPolicy { name, permissions, keys: SymmetricKeys { primary, secondary } };
        match existing.and_then(|index| policies.get_mut(index)) {
            Some(slot) => *slot = policy,
            None => policies.push(policy),
        }
    }
    Ok(policies)
}

fn permissions_of(names: &[Permission]) -> Option<Permissions> {
    let right = |name: &Permission| match name {
        Permission::DeviceConnect => Permissions::DEVICE_CONNECT,
        Permission::RegistryRead => Permissions::REGISTRY_READ,
        Permission::RegistryWrite => Permissions::REGISTRY_WRITE,
        Permission::ServiceConnect => Permissions::SERVICE_CONNECT,
    };
    names.iter().map(right).reduce(Permissions::union)
}

/// XDG on Linux and the like, Application Support on macOS, Local AppData on Windows.
fn platform_state_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(target_os = "macos") {
        folder("HOME")?.join("Library/Application Support")
    } else if cfg!(windows) {
        folder("LOCALAPPDATA")?
    } else {
        // The XDG rules say that a relative path is to be ignored.
        match folder("XDG_STATE_HOME").filter(|path| path.is_absolute()) {
            Some(path) => path,
            None => folder("HOME")?.join(".local/state"),
        }
    };
    Some(base.join("iothub-emulator"))
}

/// The port Event Hubs clients use for an emulator. contract/eventhubs.md 1.
pub const AMQP_PORT_DEFAULT: u16 = 5672;
/// What the service was observed to allow. contract/mqtt.md 2.10.
const MQTT_EXPIRY_GRACE_SECS_DEFAULT: u32 = 600;
/// Ours: at some 15 KiB each, 300 MiB per listener.
const MAX_CONNECTIONS_DEFAULT: usize = 20_000;
/// Ours: more than one address can be reached from.
const MAX_CONNECTIONS_LIMIT: usize = 1_000_000;

#[cfg(test)]
mod tests;
