//! Precedence, origins, and what is refused with which words.

use std::io::Write as _;

use hub::gate::{Throttle, Tier};

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn given(file: Option<&tempfile::NamedTempFile>) -> Options {
    Options {
        config: file.map(|file| file.path().to_owned()),
        state_dir: Some("/tmp/state".into()),
        ..Options::default()
    }
}

fn resolve(options: Options) -> Result<Config, ConfigError> {
    Config::resolve(options, &|_| false)
}

fn refused(text: &str, words: &[&str]) {
    let file = file(text);
    let error = resolve(given(Some(&file))).unwrap_err().to_string();
    for words in words {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn defaults_are_the_ports_sdks_hard_code() {
    let config = resolve(given(None)).unwrap();
    let ports =
        [&config.https_port, &config.mqtts_port, &config.amqps_port, &config.amqp_port, &config.admin_port];
    assert_eq!(ports.map(|port| port.value), [443, 8883, 5671, 5672, 8080]);
    assert!(ports.iter().all(|port| port.origin == Origin::Default));
    assert_eq!(config.mqtt_expiry_grace(), Duration::from_secs(600));
}

#[test]
fn flags_beat_variables_beat_the_file_beat_defaults() {
    let file = file("https-port = 1\nmqtts-port = 2\namqps-port = 3\n");
    let options = Options { https_port: Some(10), mqtts_port: Some(20), ..given(Some(&file)) };
    let config = Config::resolve(options, &|id| id == "mqtts_port").unwrap();
    let origin = |setting: &Setting<u16>| (setting.value, setting.origin.to_string());
    assert_eq!(origin(&config.https_port), (10, "--https-port".into()));
    assert_eq!(origin(&config.mqtts_port), (20, "IOTHUB_EMULATOR_MQTTS_PORT".into()));
    assert_eq!(origin(&config.amqps_port), (3, file.path().display().to_string()));
    assert_eq!(origin(&config.amqp_port), (5672, "default".into()));
}

#[test]
fn an_unknown_key_is_refused_by_its_name_and_line() {
    refused("https-port = 1\nhttp-port = 2\n", &["http-port", "line 2", "https-port"]);
    refused("[[policy]]\nname = 'x'\nprimary-key = 'x'\nkey = 'x'\n", &["key", "line 4"]);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    refused("https-port = 70000\n", &["70000"]);
    refused("bind = 'here'\n", &["here", "loopback"]);
    refused("log-format = 'xml'\n", &["xml", "human"]);
    refused("not toml", &["line 1"]);
    refused("partitions = 33\n", &["partitions", "2 to 32"]);
    refused("partitions = 1\n", &["2 to 32"]);
    refused("hub-name = 'a b'\n", &["hub-name", "a b"]);
    refused("host-name = ['localhost:8443']\n", &["localhost:8443", "no port"]);
    refused("redirect-host-name = 'sb://x'\n", &["redirect-host-name", "sb://x", "no port"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let options = Options { config: Some("/nowhere/x.toml".into()), ..given(None) };
    assert!(resolve(options).unwrap_err().to_string().contains("/nowhere/x.toml"));
}

#[test]
fn the_first_host_name_is_printed_and_names_the_hub() {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    for (host_name, bind, host, hub) in [
        (None, None, "localhost", "localhost"),
        (names(&["myhub.example", "other"]), None, "myhub.example", "myhub"),
        (names(&["192.168.1.5"]), None, "192.168.1.5", "iothub"),
        (None, Some("127.0.0.2"), "127.0.0.2", "iothub"),
        (None, Some("0.0.0.0"), "localhost", "localhost"),
    ] {
        let bind = bind.map(|bind| bind.parse().unwrap());
        let config = resolve(Options { host_name, bind, ..given(None) }).unwrap();
        assert_eq!((config.host_name().as_str(), config.hub_name.as_str()), (host, hub));
    }
}

#[test]
fn readers_are_redirected_to_a_name_of_its_own_only_where_one_is_given() {
    assert_eq!(resolve(given(None)).unwrap().redirect_host_name.value, None);
    let redirect_host_name = Some("eh.example".to_owned());
    let config = resolve(Options { redirect_host_name, ..given(None) }).unwrap();
    assert_eq!(config.redirect_host_name.value.as_deref(), Some("eh.example"));
    let is_shown = |(name, value, _): &(String, String, String)| {
        name == "redirect-host-name" && value.contains("eh.example")
    };
    assert!(config.rows().iter().any(is_shown));
}

#[test]
fn the_hub_answers_to_its_names_the_loopbacks_and_its_address_once_each() {
    let names = Some(vec!["MyHub".to_owned(), "LOCALHOST".to_owned()]);
    let bind = Some("127.0.0.2".parse().unwrap());
    let config = resolve(Options { host_name: names, bind, ..given(None) }).unwrap();
    assert_eq!(
        config.all_host_names(),
        ["MyHub", "LOCALHOST", "iothub.localhost", "127.0.0.1", "::1", "127.0.0.2"]
    );
}

#[test]
fn plain_listeners_stay_on_the_loopback_unless_told_otherwise() {
    let bound = |bind: Option<&str>, admin: Option<&str>| {
        let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let config = resolve(Options { bind: parse(bind), admin_bind: parse(admin), ..given(None) }).unwrap();
        [config.bind.to_string(), config.admin_bind.to_string(), config.amqp_bind.to_string()]
    };
    assert_eq!(bound(None, None), ["loopback", "loopback", "loopback"]);
    assert_eq!(bound(Some("0.0.0.0"), None), ["0.0.0.0", "loopback", "loopback"]);
    assert_eq!(bound(Some("127.0.0.2"), None), ["127.0.0.2", "127.0.0.2", "127.0.0.2"]);
    assert_eq!(bound(None, Some("0.0.0.0")), ["loopback", "0.0.0.0", "loopback"]);
}

#[test]
fn a_policy_in_the_file_replaces_the_built_in_one_of_its_name_or_is_added() {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
    let file = file(&format!(
        "[[policy]]\nname = 'service'\nprimary-key = '{KEY}'\n\
         [[policy]]\nname = 'mine'\npermissions = ['RegistryRead', 'DeviceConnect']\nprimary-key = '{KEY}'\n"
    ));
    let config = resolve(given(Some(&file))).unwrap();
    assert_eq!(config.policies.len(), 6);
    let policy = |name: &str| config.policies.iter().find(|policy| policy.name.as_str() == name).unwrap();
    assert_eq!(policy("service").permissions, Permissions::SERVICE_CONNECT);
    assert_eq!(policy("service").keys.secondary.to_base64(), KEY);
    assert_eq!(policy("mine").permissions, Permissions::REGISTRY_READ.union(Permissions::DEVICE_CONNECT));
    let shown: String =
        config.rows().into_iter().map(|(name, value, _)| format!("{name} {value}\n")).collect();
    assert!(shown.contains("policy mine") && !shown.contains(KEY), "{shown}");
}

#[test]
fn a_policy_that_cannot_work_is_refused() {
    refused("[[policy]]\nname = 'service'\nprimary-key = 'AAEC'\n", &["service", "16 to 64"]);
    refused("[[policy]]\nname = 'new'\nprimary-key = 'AAECAwQFBgcICQoLDA0ODw=='\n", &["new", "permissions"]);
    refused("[[policy]]\nname = 'a b'\nprimary-key = 'AAECAwQFBgcICQoLDA0ODw=='\n", &["a b"]);
    refused("[[policy]]\nname = 'x'\npermissions = ['All']\nprimary-key = ''\n", &["All", "RegistryRead"]);
}

#[test]
fn paths_in_the_file_are_relative_to_the_file() {
    let file = file("state-dir = 'state'\n[[certificate-authority]]\nname = 'mine'\nfile = 'ca.pem'\n");
    let folder = file.path().parent().unwrap();
    let config = resolve(Options { state_dir: None, ..given(Some(&file)) }).unwrap();
    assert_eq!(*config.state_dir, folder.join("state"));
    assert_eq!(*config.certificate_authorities, [("mine".to_owned(), folder.join("ca.pem"))]);
}

#[test]
fn what_config_prints_can_be_read_back() {
    let bind = Some("127.0.0.2".parse().unwrap());
    let config = resolve(Options { bind, admin_port: Some(0), ..given(None) }).unwrap();
    let printed: String = config
        .rows()
        .into_iter()
        .filter(|(name, ..)| !name.contains(' '))
        .map(|(name, value, origin)| format!("{name} = {value} # {origin}\n"))
        .collect();
    let file = file(&printed);
    let again = resolve(Options { state_dir: None, ..given(Some(&file)) }).unwrap();
    let values =
        |config: &Config| config.rows().into_iter().map(|(name, value, _)| (name, value)).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&config));
}

#[test]
fn nothing_but_the_tier_binds_unless_switched_on() {
    let config = resolve(given(None)).unwrap();
    assert_eq!(*config.scale.tier, Tier::Standard);
    assert_eq!(config.scale.enforced_rates(), None);
    assert_eq!(config.scale.enforced_messages_per_day(), None);
}

#[test]
fn rates_and_quota_follow_from_tier_and_units_unless_the_file_has_others() {
    let file = file(
        "tier = 'basic'\nunit-size = 2\nunits = 3\nthrottling = true\ndaily-quota = true\n\
         [throttles]\nidentity-registry = '7/min'\n",
    );
    let scale = resolve(given(Some(&file))).unwrap().scale;
    assert_eq!((*scale.tier, scale.enforced_messages_per_day()), (Tier::Basic, Some(18_000_000)));
    let rates = scale.enforced_rates().unwrap();
    assert_eq!(rates.of(Throttle::IdentityRegistry).to_string(), "7/min");
    assert_eq!(rates.of(Throttle::Connections).to_string(), "360/s");
    let options = Options { messages_per_day: Some(9), ..given(Some(&file)) };
    assert_eq!(resolve(options).unwrap().scale.enforced_messages_per_day(), Some(9));
}

#[test]
fn a_free_hub_has_two_partitions_unless_told_otherwise() {
    let free = || Options { tier: Some(TierOption::Free), ..given(None) };
    assert_eq!(*resolve(free()).unwrap().events.partitions, 2);
    assert_eq!(*resolve(Options { partitions: Some(4), ..free() }).unwrap().events.partitions, 4);
}

#[test]
fn a_scale_nobody_can_buy_is_refused() {
    refused("tier = 'premium'\n", &["premium", "basic"]);
    refused("tier = 'free'\nunits = 2\n", &["units", "1 to 1"]);
    refused("unit-size = 4\n", &["unit-size", "1, 2 or 3"]);
    refused("unit-size = 3\nunits = 11\n", &["units", "1 to 10"]);
    refused("units = 0\n", &["units", "1 to 200"]);
    refused("throttling = 'yes'\n", &["yes", "boolean"]);
    refused("[throttles]\ntwin-reads = '1/h'\n", &["1/h", "50/s"]);
    refused("[throttles]\nqueries = '1/s'\n", &["queries", "twin-reads"]);
}

#[test]
fn event_hubs_groups_routes_and_enrichments_are_read_from_the_file() {
    let file = file(
        "partitions = 8\nconsumer-groups = ['dashboard']\nevent-retention-hours = 2\nevent-retention-mib = 3\n\
         [[event-hub]]\nname = 'alerts'\npartitions = 2\nconsumer-groups = ['pager']\n\
         [[event-hub]]\nname = 'cold'\n\
         [[route]]\nname = 'hot'\nsource = 'DeviceMessages'\ncondition = 'true'\nendpoints = ['alerts', 'events']\n\
         [[route]]\nname = 'off'\nsource = 'TwinChangeEvents'\nendpoints = ['cold']\nenabled = false\n\
         [[enrichment]]\nkey = 'floor'\nvalue = '$twin.tags.floor'\nendpoints = ['events']\n",
    );
    let events = resolve(given(Some(&file))).unwrap().events;
    let shape = |name: &str| {
        let event_hub = events.event_hubs.iter().find(|event_hub| event_hub.name.as_str() == name).unwrap();
        (event_hub.partitions, event_hub.consumer_groups.len())
    };
    assert_eq!((shape("alerts"), shape("cold")), ((2, 1), (8, 0)));
    assert_eq!(events.consumer_groups[0].as_str(), "dashboard");
    assert_eq!((events.retention().time, events.retention().bytes), (Duration::from_secs(7200), 3 << 20));
    let routes: Vec<_> =
        events.routing.spec.routes.iter().map(|route| (route.name.as_str(), route.is_enabled)).collect();
    assert_eq!(routes, [("hot", true), ("off", false)]);
    assert_eq!(events.routing.spec.enrichments[0].value, "$twin.tags.floor");
    assert!(events.routing.spec.fallback_route && !*events.create_consumer_groups);
}

#[test]
fn a_flag_may_name_consumer_groups_and_switch_the_fallback_route_off() {
    let options = Options {
        consumer_groups: Some(vec!["a".into(), "b".into()]),
        fallback_route: Some(false),
        create_consumer_groups: Some(true),
        ..given(None)
    };
    let config = Config::resolve(options, &|id| id == "consumer_group").unwrap();
    assert_eq!(config.events.consumer_groups.len(), 2);
    assert_eq!(config.events.consumer_groups.origin.to_string(), "IOTHUB_EMULATOR_CONSUMER_GROUP");
    assert!(!config.events.routing.spec.fallback_route && *config.events.create_consumer_groups);
}

#[test]
fn event_hubs_and_routes_that_cannot_work_are_refused_by_name() {
    refused("consumer-groups = ['a b']\n", &["consumer-groups", "'a b'"]);
    refused("event-retention-hours = 169\n", &["event-retention-hours", "1 to 168"]);
    refused("event-retention-mib = 0\n", &["event-retention-mib", "1 to 65536"]);
    refused("[[event-hub]]\nname = 'events'\n", &["event-hub", "'events'"]);
    refused("hub-name = 'mine'\n[[event-hub]]\nname = 'Mine'\n", &["'Mine'", "called 'events'"]);
    refused("[[event-hub]]\nname = 'a'\npartitions = 1\n", &["event hub 'a'", "2 to 32"]);
    refused("[[event-hub]]\nname = 'a'\n[[event-hub]]\nname = 'A'\n", &["'A'", "unique"]);
    refused(
        "tier = 'free'\n[[event-hub]]\nname = 'a'\n[[event-hub]]\nname = 'b'\n",
        &["the free tier allows 1"],
    );
    let route = |rest: &str| format!("[[route]]\nname = 'r'\nendpoints = ['events']\n{rest}\n");
    refused(&route("source = 'Telemetry'"), &["routing is wrong", "Route 'r'", "DeviceMessages"]);
    refused(
        &route("source = 'DeviceMessages'\ncondition = 'a > 1'"),
        &["Route 'r'", "'a > 1'", "not supported yet"],
    );
    refused(&route("source = 'DeviceMessages'\nwhere = 'a'"), &["where", "line 5"]);
    refused(
        "[[route]]\nname = 'r'\nsource = 'DeviceMessages'\nendpoints = ['cold']\n",
        &["Route 'r'", "no endpoint 'cold'", "configured before"],
    );
    refused("[[enrichment]]\nkey = 'k'\nvalue = '$twin.x'\nendpoints = ['events']\n", &["Enrichment 'k'"]);
}

#[test]
fn what_is_routed_is_shown_with_its_origin() {
    let file = file(
        "[[event-hub]]\nname = 'alerts'\nconsumer-groups = ['pager']\n\
         [[route]]\nname = 'hot'\nsource = 'DeviceMessages'\nendpoints = ['alerts']\nenabled = false\n\
         [[enrichment]]\nkey = 'floor'\nvalue = '$iothubname'\nendpoints = ['alerts']\n",
    );
    let rows = resolve(given(Some(&file))).unwrap().rows();
    let row = |name: &str| {
        let row = rows.iter().find(|(found, ..)| found == name).unwrap();
        assert_eq!(row.2, file.path().display().to_string());
        row.1.clone()
    };
    assert_eq!(row("event-hub alerts"), "\"4 partitions, $Default pager\"");
    assert_eq!(row("route hot"), "\"DeviceMessages to alerts (disabled)\"");
    assert_eq!(row("enrichment floor"), "\"$iothubname for alerts\"");
}
