//! Commands that need no running emulator.

use std::net::TcpListener;

use crate::process::{FREE_PORTS, program, run, stderr, stdout};

const OWNER: &str = "HostName=localhost;SharedAccessKeyName=iothubowner;\
                     SharedAccessKey=cHVibGljLWRldmVsb3BtZW50LWtleS9pb3RodWJvd25lci9wcmltYXJ5\n";

#[test]
fn connection_string_prints_exactly_the_connection_string() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(stdout(&run(state.path(), &["connection-string"])), OWNER);
    assert_eq!(stdout(&run(state.path(), &["connection-string", "--policy", "iothubowner"])), OWNER);
    let named = run(state.path(), &["connection-string", "--host-name", "127.0.0.1"]);
    assert_eq!(stdout(&named), OWNER.replace("localhost", "127.0.0.1"));
}

#[test]
fn connection_string_of_the_event_hub_is_for_emulator_clients() {
    let state = tempfile::tempdir().unwrap();
    let text = stdout(&run(state.path(), &["connection-string", "--event-hub", "--hub-name", "myhub"]));
    assert!(
        text.starts_with("Endpoint=sb://localhost;SharedAccessKeyName=iothubowner;SharedAccessKey="),
        "{text}"
    );
    assert!(text.ends_with(";EntityPath=myhub;UseDevelopmentEmulator=true\n"), "{text}");
}

#[test]
fn an_unknown_policy_is_refused_with_the_known_ones() {
    let state = tempfile::tempdir().unwrap();
    let output = run(state.path(), &["connection-string", "--policy", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("'nobody'") && stderr(&output).contains("registryReadWrite"));
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_devices_connection_string_needs_a_running_emulator() {
    let state = tempfile::tempdir().unwrap();
    let output = run(state.path(), &["connection-string", "--device", "d1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no emulator is running"), "{}", stderr(&output));
}

#[test]
fn config_prints_every_value_with_its_origin() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("hub.toml");
    std::fs::write(&file, "https-port = 1\nmqtts-port = 2\namqps-port = 3\n").unwrap();
    let output = program()
        .env("IOTHUB_EMULATOR_MQTTS_PORT", "20")
        .env("IOTHUB_EMULATOR_HTTPS_PORT", "10")
        .args(["config", "--https-port", "100", "--state-dir"])
        .arg(state.path())
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let text = stdout(&output);
    let row = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("https-port"), "https-port = 100 # --https-port");
    assert_eq!(row("mqtts-port"), "mqtts-port = 20 # IOTHUB_EMULATOR_MQTTS_PORT");
    assert_eq!(row("amqps-port"), format!("amqps-port = 3 # {}", file.display()));
    assert_eq!(row("amqp-port"), "amqp-port = 5672 # default");
}

#[test]
fn an_unknown_key_in_the_file_ends_every_command() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("hub.toml");
    std::fs::write(&file, "https_port = 1\n").unwrap();
    for command in ["serve", "config", "connection-string", "healthcheck"] {
        let output = run(state.path(), &[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr(&output).contains("https_port"), "{command}: {}", stderr(&output));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let state = tempfile::tempdir().unwrap();
    for arguments in [&["fly"][..], &["serve", "--https-port", "x"], &["connection-string", "--module", "m"]]
    {
        assert_eq!(run(state.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn version_and_completions_are_printed() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(
        stdout(&run(state.path(), &["--version"])),
        format!("iothub-emulator {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(stdout(&run(state.path(), &["completions", "bash"])).contains("connection-string"));
}

#[test]
fn cert_export_prints_the_same_root_each_time() {
    let state = tempfile::tempdir().unwrap();
    let first = stdout(&run(state.path(), &["cert", "export"]));
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(stdout(&run(state.path(), &["cert", "export"])), first);
}

#[test]
fn cert_issue_prints_or_writes_a_certificate_and_its_key() {
    let state = tempfile::tempdir().unwrap();
    let printed = stdout(&run(state.path(), &["cert", "issue", "--device", "d1"]));
    assert_eq!(printed.matches("-----BEGIN CERTIFICATE-----").count(), 1);
    assert_eq!(printed.matches("-----BEGIN PRIVATE KEY-----").count(), 1);

    let out = state.path().join("issued");
    let arguments = ["cert", "issue", "--device", "d1", "--module", "m1", "--out", out.to_str().unwrap()];
    let written = run(state.path(), &arguments);
    let (certificate, key) = (out.join("d1~m1.pem"), out.join("d1~m1.key"));
    assert_eq!(stdout(&written), format!("{}\n{}\n", certificate.display(), key.display()));
    assert!(std::fs::read_to_string(certificate).unwrap().contains("CERTIFICATE"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let kept = std::fs::read(&key).unwrap();
    assert!(!run(state.path(), &arguments).status.success());
    assert_eq!(std::fs::read(&key).unwrap(), kept);
}

#[test]
fn cert_issue_refuses_an_id_the_registry_would_refuse() {
    let state = tempfile::tempdir().unwrap();
    let output = run(state.path(), &["cert", "issue", "--device", "a b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("' '"), "{}", stderr(&output));
    assert_eq!(run(state.path(), &["cert", "issue"]).status.code(), Some(1));
}

#[test]
fn healthcheck_fails_when_nothing_runs() {
    let state = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port().to_string();
    drop(nobody);
    let output = run(state.path(), &["healthcheck", "--admin-port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&port), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_ends_the_start_before_anything_is_served() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut arguments = vec!["serve"];
    arguments.extend(FREE_PORTS[..8].iter().chain(&["--admin-port", &port]));
    let output = run(state.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    for words in [
        format!("127.0.0.1:{port}"),
        "the admin API".into(),
        format!("sport = :{port}"),
        "--admin-port".into(),
    ] {
        assert!(stderr(&output).contains(&words), "{words}: {}", stderr(&output));
    }
    assert!(!state.path().join("endpoints.json").exists());
}

#[test]
fn a_state_folder_that_cannot_be_used_is_named_with_the_way_out() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = run(&file, &["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(file.to_str().unwrap()) && stderr(&output).contains("--state-dir"));

    let nowhere = program().arg("config").output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("--state-dir"), "{}", stderr(&nowhere));
}

#[test]
fn the_state_folder_is_the_platforms_unless_told_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let shown = |variable: &str| {
        let output = program().arg("config").env(variable, home.path()).output().unwrap();
        stdout(&output).lines().find(|line| line.starts_with("state-dir")).unwrap().to_owned()
    };
    if cfg!(target_os = "linux") {
        assert!(shown("XDG_STATE_HOME").contains(home.path().join("iothub-emulator").to_str().unwrap()));
        assert!(shown("HOME").contains(home.path().join(".local/state/iothub-emulator").to_str().unwrap()));
    }
}
