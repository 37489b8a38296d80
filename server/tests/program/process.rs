//! Starts the program, waits for what it prints, and makes sure it is gone at the end of the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program without the environment of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IOTHUB_EMULATOR_")) {
        command.env_remove(name);
    }
    command.env_remove("XDG_STATE_HOME").env_remove("HOME");
    command
}

/// Runs a command to its end.
pub(crate) fn run(state: &Path, arguments: &[&str]) -> Output {
    program().arg("--state-dir").arg(state).args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ports the system picks.
pub(crate) const FREE_PORTS: [&str; 10] =
    ["--https-port", "0", "--mqtts-port", "0", "--amqps-port", "0", "--amqp-port", "0", "--admin-port", "0"];

/// A running emulator; killed when dropped.
pub(crate) struct Serving {
    pub(crate) state: TempDir,
    pub(crate) banner: String,
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Serving {
    /// Starts `serve` and returns once it says it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut child = program()
            .arg("serve")
            .args(FREE_PORTS)
            .args(arguments)
            .arg("--state-dir")
            .arg(state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            assert_ne!(out.read_line(&mut banner).unwrap(), 0, "it ended before it was ready:\n{banner}");
        }
        Self { state, banner, child, out }
    }

    pub(crate) fn endpoints(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.state.path().join("endpoints.json")).unwrap())
            .unwrap()
    }

    /// The first address of a listener.
    pub(crate) fn address(&self, listener: &str) -> String {
        self.endpoints()[listener][0].as_str().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the exit code and what stood on standard error.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let (mut log, mut rest) = (String::new(), String::new());
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing more on standard output");
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
