//! House rules as tests: what the compiler and clippy cannot see fails the build here and not a reviewer's
//! patience. `sources` reads the tree, `dependencies` what cargo says of it, `documents` the README, `fuzz_targets`
//! the fuzzer's parts.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/fuzz_targets.rs"]
mod fuzz_targets;
#[path = "tidy/sources.rs"]
mod sources;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in a folder of the root")
        .to_owned()
}

/// Every file git would commit, by its path from the root, with its text; binary files are left out.
fn files() -> Vec<(String, String)> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the tree");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let read =
        |path: &str| std::fs::read_to_string(root().join(path)).ok().map(|text| (path.to_owned(), text));
    listed.lines().filter_map(read).collect()
}

fn rust_files() -> Vec<(String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// Fails with every finding at once, so that one run shows all there is to mend.
#[track_caller]
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
