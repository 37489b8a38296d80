//! What the documents promise exists.

use crate::{assert_none, files, root};

#[test]
fn paths_the_readme_names_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let is_ours = |word: &&str| {
        ["tests/", "scenarios/", "server/", "client/", "docker/", ".ci/"]
            .iter()
            .any(|top| word.starts_with(top))
    };
    let trim = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    let findings: Vec<_> = readme
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '`'))
        .map(|word| word.trim_matches(trim).trim_end_matches(['.', ',']))
        .filter(is_ours)
        .filter(|path| !root().join(path.trim_end_matches('/')).exists())
        .map(ToOwned::to_owned)
        .collect();
    assert_none("paths in README.md that do not exist", &findings);
}

#[test]
fn flags_the_readme_names_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md is there");
    let sources: String = files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("server/src/"))
        .map(|(_, text)| text.replace('_', "-"))
        .collect();
    let commands = readme.lines().filter(|line| line.trim_start().starts_with("iothub-emulator "));
    let flags = commands.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("--"));
    let findings: Vec<_> = flags
        .map(|flag| flag.split('=').next().unwrap_or(flag))
        .filter(|flag| !sources.contains(flag))
        .map(|flag| format!("--{flag}"))
        .collect();
    assert_none("flags in README.md that no command has", &findings);
}
