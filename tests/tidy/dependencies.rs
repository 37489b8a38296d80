//! Arrows between our crates, and the licences of everybody else's.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::{assert_none, root};

/// `user -> what it may use`, ARCHITECTURE section 1. Tests may use everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("hub", &[]),
    ("auth", &["hub"]),
    ("net", &["auth", "hub"]),
    ("mqtt", &["auth", "hub", "net"]),
    ("amqp", &["auth", "hub", "net"]),
    ("http-head", &["auth", "hub", "net"]),
    ("iothub-emulator", &["amqp", "auth", "http-head", "hub", "mqtt", "net"]),
    ("iothub-client", &[]),
];

/// Crates the core must never be able to name.
const NETWORKING: &[&str] = &["axum", "hyper", "rustls", "tokio-rustls", "fe2o3-amqp", "tower"];

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .expect("cargo describes the workspace")
}

#[test]
fn crates_use_only_what_the_arrows_allow() {
    let metadata = metadata();
    let members: BTreeSet<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        if ["bench", "tests"].contains(&package.name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            findings.push(format!("{}: has no row in the table of arrows", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            if members.contains(&dependency.name) && !allowed.contains(&dependency.name.as_str()) {
                findings.push(format!("{} -> {}", package.name, dependency.name));
            }
            if package.name.as_str() == "hub" && NETWORKING.contains(&dependency.name.as_str()) {
                findings.push(format!("the core knows no protocol, yet names {}", dependency.name));
            }
        }
    }
    assert_none("arrows against ARCHITECTURE section 1", &findings);
}

#[test]
fn every_dependency_has_a_licence_we_accept() {
    let policy: toml::Table = std::fs::read_to_string(root().join("deny.toml"))
        .expect("deny.toml is there")
        .parse()
        .expect("it is TOML");
    let allowed: BTreeSet<_> = policy["licenses"]["allow"]
        .as_array()
        .expect("licenses.allow is a list")
        .iter()
        .filter_map(|licence| licence.as_str())
        .collect();
    let findings: Vec<_> = metadata()
        .packages
        .iter()
        .filter_map(|package| {
            let licence = package.license.as_deref().unwrap_or("none given");
            let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).ok();
            let accepts = |requirement: &spdx::LicenseReq| allowed.contains(requirement.to_string().as_str());
            let is_accepted = expression.is_some_and(|expression| expression.evaluate(accepts));
            (!is_accepted).then(|| format!("{} {}: {licence}", package.name, package.version))
        })
        .collect();
    assert_none("licences outside deny.toml", &findings);
}

#[test]
fn banned_crates_are_not_in_the_tree() {
    let policy: toml::Table = std::fs::read_to_string(root().join("deny.toml"))
        .expect("deny.toml is there")
        .parse()
        .expect("it is TOML");
    let banned = policy["bans"]["deny"].as_array().expect("bans.deny is a list").clone();
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is there");
    let findings: Vec<_> = banned
        .iter()
        .filter_map(|row| row["crate"].as_str())
        .filter(|name| lock.contains(&format!("name = \"{name}\"\n")))
        .map(ToOwned::to_owned)
        .collect();
    assert_none("crates deny.toml bans", &findings);
}
