//! `cert export` and `cert issue`: the root certificate, and certificates with which devices log in.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use hub::time::{Clock as _, SystemClock};

use crate::certificates::RootAuthority;
use crate::config::Config;
use crate::state_folder::{Access, StateFolder};

use super::IdentityArguments;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the root certificate, for clients to trust
    Export,
    /// Make a certificate signed by the root, with its key, for a device or module of type certificateAuthority
    Issue(IssueArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArguments {
    #[command(flatten)]
    identity: IdentityArguments,
    /// Days it is good for
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Folder to write DEVICE.pem and DEVICE.key (or DEVICE~MODULE.*) to, instead of printing them
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(config: &Config, command: &Command) -> anyhow::Result<String> {
    let folder = StateFolder::open(&config.state_dir)?;
    let root = RootAuthority::load_or_make(&folder, SystemClock.now())?;
    if root.is_new {
        eprintln!(
            "note: made a new root certificate in {}; an emulator that uses another state folder has another root \
             (give its --state-dir)",
            folder.path().display()
        );
    }
    match command {
        Command::Export => Ok(root.certificate().to_owned()),
        Command::Issue(arguments) => issue(&root, arguments),
    }
}

fn issue(root: &RootAuthority, arguments: &IssueArguments) -> anyhow::Result<String> {
    let identity = arguments.identity.identity()?.context("--device ID is missing")?;
    let issued = root.client_certificate(&identity, arguments.days, SystemClock.now())?;
    let Some(out) = &arguments.out else { return Ok(issued.certificate + &issued.key) };
    // No id may hold a tilde, so no two identities share a file.
    let stem = identity.to_string().replace('/', "~");
    // The same care as for our own keys: whole files, the key for its owner only.
    let out = StateFolder::open(out).context("--out")?;
    let (certificate, key) = (format!("{stem}.pem"), format!("{stem}.key"));
    for file in [&key, &certificate] {
        anyhow::ensure!(
            !out.path().join(file).exists(),
            "{file} exists in {}; move it away first",
            out.path().display()
        );
    }
    out.write(&key, &issued.key, Access::Private)?;
    out.write(&certificate, &issued.certificate, Access::Public)?;
    Ok(format!("{}\n{}\n", out.path().join(certificate).display(), out.path().join(key).display()))
}
