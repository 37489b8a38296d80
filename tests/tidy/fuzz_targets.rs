//! No check of every push builds the fuzzer; that its parts belong together is seen from their text.

use std::collections::BTreeSet;

use crate::{assert_none, files, root};

/// `(crate, target)` for every function the heads give the fuzzer.
fn functions(files: &[(String, String)]) -> Vec<(String, String)> {
    let facades = files.iter().filter_map(|(path, text)| {
        let package = path.strip_prefix("server/")?.strip_suffix("/src/fuzzing.rs")?;
        Some((package, text))
    });
    let of_facade = |(package, text): (&str, &String)| {
        let names =
            text.lines().filter_map(|line| line.strip_prefix("pub fn ")?.strip_suffix("(bytes: &[u8]) {"));
        names.map(|name| (package.to_owned(), name.to_owned())).collect::<Vec<_>>()
    };
    facades.flat_map(of_facade).collect()
}

#[test]
fn a_fuzz_target_has_a_function_a_binary_a_corpus_and_its_replay() {
    let files = files();
    let text = |path: &str| files.iter().find(|(known, _)| known == path).map_or("", |(_, text)| text);
    let functions = functions(&files);
    assert!(!functions.is_empty(), "the heads' fuzzing.rs were not found");
    let mut findings = Vec::new();
    for (package, name) in &functions {
        let mut check = |holds: bool, what: &str| {
            if !holds {
                findings.push(format!("{package}::fuzzing::{name}: {what}"));
            }
        };
        let target = text(&format!("tests/fuzz/fuzz_targets/{name}.rs")).to_owned();
        check(target.contains(&format!("{package}::fuzzing::{name}(bytes)")), "no target calls it");
        check(
            text("tests/fuzz/Cargo.toml").contains(&format!("\nname = \"{name}\"\n")),
            "no [[bin]] in tests/fuzz",
        );
        check(root().join("tests/fuzz/corpus").join(name).is_dir(), "no corpus");
        let replays = format!("replay(\"{name}\", {name})");
        check(
            text(&format!("server/{package}/src/fuzzing.rs")).contains(&replays),
            "no test replays its corpus",
        );
    }
    let known: BTreeSet<_> = functions.iter().map(|(_, name)| name.as_str()).collect();
    let targets = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("tests/fuzz/fuzz_targets/")?.strip_suffix(".rs"));
    findings
        .extend(targets.filter(|name| !known.contains(name)).map(|name| format!("{name}: no head has it")));
    assert_none("fuzz targets with a part missing", &findings);
}
