//! What can be set, in the one spelling that flags, `IOTHUB_EMULATOR_*` variables and the TOML file share.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use hub::gate::{Rate, RateError, Throttle, Tier};
use serde::{Deserialize, Serialize};

use super::events::{EnrichmentOptions, EventHubOptions, RouteOptions};

/// Every option, unset unless somebody set it. Flags and variables fill one of these, the file another.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Options of the hub")]
pub struct Options {
    /// TOML file with any of these options; keys are the flags without dashes in front
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address to listen on; `loopback` is 127.0.0.1 and, where there is IPv6, ::1 [default: loopback]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_BIND", value_name = "ADDR")]
    pub bind: Option<Bind>,
    /// Address of the admin listener [default: --bind if that is a loopback address, else loopback]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_ADMIN_BIND", value_name = "ADDR")]
    pub admin_bind: Option<Bind>,
    /// Address of the plain AMQP listener [default: --bind if that is a loopback address, else loopback]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_AMQP_BIND", value_name = "ADDR")]
    pub amqp_bind: Option<Bind>,

    /// HTTPS: REST, and MQTT and AMQP over WebSocket; 0 picks a free port [default: 443]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_HTTPS_PORT", value_name = "PORT")]
    pub https_port: Option<u16>,
    /// MQTT over TLS [default: 8883]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_MQTTS_PORT", value_name = "PORT")]
    pub mqtts_port: Option<u16>,
    /// AMQP over TLS [default: 5671]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_AMQPS_PORT", value_name = "PORT")]
    pub amqps_port: Option<u16>,
    /// Plain AMQP for Event Hubs clients with UseDevelopmentEmulator=true [default: 5672]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_AMQP_PORT", value_name = "PORT")]
    pub amqp_port: Option<u16>,
    /// Plain HTTP: health, admin API, root certificate [default: 8080]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_ADMIN_PORT", value_name = "PORT")]
    pub admin_port: Option<u16>,

    /// Name the hub answers to besides localhost, iothub.localhost and its addresses; repeatable, the first one is
    /// the HostName of printed connection strings
    #[arg(
        long,
        global = true,
        env = "IOTHUB_EMULATOR_HOST_NAME",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub host_name: Option<Vec<String>>,
    /// Host name that clients are redirected to who look for events at the hub's own address
    /// [default: the name they came by]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_REDIRECT_HOST_NAME", value_name = "NAME")]
    pub redirect_host_name: Option<String>,
    /// Name of the hub and its event hub [default: first label of the first host name]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_HUB_NAME", value_name = "NAME")]
    pub hub_name: Option<String>,
    /// Partitions of the built-in event hub, 2 to 32 [default: 4, in the free tier 2]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_PARTITIONS", value_name = "COUNT")]
    pub partitions: Option<u8>,
    /// Consumer group of the built-in event hub besides $Default; repeatable
    #[arg(
        id = "consumer_group",
        long = "consumer-group",
        global = true,
        env = "IOTHUB_EMULATOR_CONSUMER_GROUP",
        value_name = "NAME",
        value_delimiter = ','
    )]
    #[serde(alias = "consumer-group")]
    pub consumer_groups: Option<Vec<String>>,
    /// Make a consumer group when somebody first reads with it [default: false]
    #[arg(
        long,
        global = true,
        env = "IOTHUB_EMULATOR_CREATE_CONSUMER_GROUPS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub create_consumer_groups: Option<bool>,
    /// Hours an event is kept, at most 168 [default: 24]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_EVENT_RETENTION_HOURS", value_name = "HOURS")]
    pub event_retention_hours: Option<u32>,
    /// MiB of events each event hub keeps in memory before the oldest go [default: 256]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_EVENT_RETENTION_MIB", value_name = "MIB")]
    pub event_retention_mib: Option<u32>,
    /// Whether device messages that no route takes go to the built-in event hub [default: true]
    #[arg(
        long,
        global = true,
        env = "IOTHUB_EMULATOR_FALLBACK_ROUTE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub fallback_route: Option<bool>,

    /// What the hub can do: standard, free (the same in small numbers) or basic (no twins, methods, modules)
    /// [default: standard]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_TIER", value_name = "TIER")]
    pub tier: Option<TierOption>,
    /// Size of its units: 1 for S1 or B1, 2 for S2 or B2, 3 for S3 or B3 [default: 1]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_UNIT_SIZE", value_name = "SIZE")]
    pub unit_size: Option<u8>,
    /// Number of units, which rates and quota grow with [default: 1]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_UNITS", value_name = "COUNT")]
    pub units: Option<u32>,
    /// Keep callers to the rates of tier and units, or those under [throttles] in the file [default: false]
    #[arg(
        long,
        global = true,
        env = "IOTHUB_EMULATOR_THROTTLING",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub throttling: Option<bool>,
    /// Refuse messages once those of the day are used up [default: false]
    #[arg(
        long,
        global = true,
        env = "IOTHUB_EMULATOR_DAILY_QUOTA",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub daily_quota: Option<bool>,
    /// Messages of a day, for --daily-quota [default: what tier and units give]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_MESSAGES_PER_DAY", value_name = "COUNT")]
    pub messages_per_day: Option<u64>,

    /// Folder of the root certificate, the server certificate and endpoints.json
    /// [default: the platform's folder for state]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Seconds an MQTT connection outlives its token [default: 600]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_MQTT_EXPIRY_GRACE_SECS", value_name = "SECS")]
    pub mqtt_expiry_grace_secs: Option<u32>,
    /// Connections each listener serves at once; more wait [default: 20000]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,

    /// What is logged: error, warn, info, debug or trace, or per module such as info,mqtt=trace [default: info]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged [default: human]
    #[arg(long, global = true, env = "IOTHUB_EMULATOR_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Rates in place of those of tier and units, for --throttling; file only.
    #[arg(skip)]
    pub throttles: ThrottleOptions,
    /// Policies to add, or to replace by name; file only.
    #[arg(skip)]
    pub policy: Vec<PolicyOptions>,
    /// Event hubs beside the built-in one; file only.
    #[arg(skip)]
    pub event_hub: Vec<EventHubOptions>,
    /// Routes; file only.
    #[arg(skip)]
    pub route: Vec<RouteOptions>,
    /// Enrichments; file only.
    #[arg(skip)]
    pub enrichment: Vec<EnrichmentOptions>,
    /// Certificate authorities registered as verified; file only.
    #[arg(skip)]
    pub certificate_authority: Vec<CertificateAuthorityOptions>,
}

/// Where a listener listens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum Bind {
    /// One address, all of them for `0.0.0.0` or `::`.
    Address(IpAddr),
    /// 127.0.0.1, and ::1 where there is IPv6.
    Loopback,
}

impl Bind {
    /// The address that must work, and one that may be missing on this machine.
    pub fn addresses(self) -> (IpAddr, Option<IpAddr>) {
        match self {
            Self::Address(address) => (address, None),
            Self::Loopback => (Ipv4Addr::LOCALHOST.into(), Some(Ipv6Addr::LOCALHOST.into())),
        }
    }

    /// Where listeners without TLS go unless told otherwise: never beyond the loopback.
    pub(super) fn private(self) -> Self {
        match self {
            Self::Address(address) if address.is_loopback() => self,
            Self::Address(_) | Self::Loopback => Self::Loopback,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Loopback => f.write_str(LOOPBACK),
        }
    }
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == LOOPBACK {
            return Ok(Self::Loopback);
        }
        text.parse()
            .map(Self::Address)
            .map_err(|_| format!("'{text}' is neither an IP address nor '{LOOPBACK}'"))
    }
}

impl TryFrom<String> for Bind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

const LOOPBACK: &str = "loopback";

/// A tier, as it is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TierOption {
    /// Devices and telemetry.
    Basic,
    /// Everything, in small numbers.
    Free,
    /// Everything.
    Standard,
}

impl From<TierOption> for Tier {
    fn from(option: TierOption) -> Self {
        match option {
            TierOption::Basic => Self::Basic,
            TierOption::Free => Self::Free,
            TierOption::Standard => Self::Standard,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// `[throttles]`: rates such as `100/min` or `50/s`, those of direct methods in payloads of 4 KB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ThrottleOptions {
    cloud_to_device_receives: Option<RateOption>,
    cloud_to_device_sends: Option<RateOption>,
    connections: Option<RateOption>,
    device_to_cloud_sends: Option<RateOption>,
    direct_methods: Option<RateOption>,
    identity_registry: Option<RateOption>,
    twin_reads: Option<RateOption>,
    twin_updates: Option<RateOption>,
}

impl ThrottleOptions {
    /// The rate given for a throttle.
    pub(super) fn of(&self, throttle: Throttle) -> Option<Rate> {
        let rate = match throttle {
            Throttle::CloudToDeviceReceives => self.cloud_to_device_receives,
            Throttle::CloudToDeviceSends => self.cloud_to_device_sends,
            Throttle::Connections => self.connections,
            Throttle::DeviceToCloudSends => self.device_to_cloud_sends,
            Throttle::DirectMethods => self.direct_methods,
            Throttle::IdentityRegistry => self.identity_registry,
            Throttle::TwinReads => self.twin_reads,
            Throttle::TwinUpdates => self.twin_updates,
        };
        rate.map(|RateOption(rate)| rate)
    }
}

/// A rate, as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct RateOption(Rate);

impl TryFrom<String> for RateOption {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse().map(Self)
    }
}

/// `[[policy]]`: a shared access policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyOptions {
    /// Its name; that of a built-in one replaces it.
    pub name: String,
    /// Any of RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect. A built-in policy keeps its own if absent.
    pub permissions: Option<Vec<Permission>>,
    /// Base64 of 16 to 64 bytes.
    pub primary_key: String,
    /// The same; the primary key if absent.
    pub secondary_key: Option<String>,
}

/// The service's rights by name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Permission {
    /// Act as a device or module.
    DeviceConnect,
    /// Read identities.
    RegistryRead,
    /// Change identities.
    RegistryWrite,
    /// Twins and everything else a back end does.
    ServiceConnect,
}

/// `[[certificate-authority]]`: a CA whose devices may log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificateAuthorityOptions {
    /// The name it is registered under.
    pub name: String,
    /// PEM file, relative to the configuration file.
    pub file: PathBuf,
}
