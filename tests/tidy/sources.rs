//! How our sources look: length, heads, wire literals in their one place, calls nobody may make.

use crate::{assert_none, files, rust_files};

/// STYLE: past this a file holds two concepts.
const LINES_MAX: usize = 500;

#[test]
fn no_file_is_longer_than_one_sitting() {
    let findings: Vec<_> = rust_files()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, {LINES_MAX} allowed"))
        .collect();
    assert_none("files that ask for a split along their concepts", &findings);
}

#[test]
fn every_file_says_what_it_is() {
    let findings: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert_none("files without a //! head", &findings);
}

/// A wire constant has one home; everybody else names it.
#[test]
fn wire_literals_stand_in_names_only() {
    let files = rust_files();
    let mut findings = Vec::new();
    for head in ["server/mqtt/src/", "server/amqp/src/", "server/http/src/"] {
        let Some((_, names)) = files.iter().find(|(path, _)| *path == format!("{head}names.rs")) else {
            findings.push(format!("{head}names.rs is missing"));
            continue;
        };
        let literals: Vec<_> =
            string_literals(production(names)).into_iter().filter(|l| is_wire_word(l)).collect();
        let elsewhere =
            files.iter().filter(|(path, _)| path.starts_with(head) && !path.ends_with("names.rs"));
        for (path, text) in elsewhere.filter(|(path, _)| !path.contains("test")) {
            for (number, line) in production(text).lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                let found = string_literals(line).into_iter().find(|literal| literals.contains(literal));
                findings.extend(found.map(|literal| format!("{path}:{}: \"{literal}\"", number + 1)));
            }
        }
    }
    assert_none("wire literals outside names.rs", &findings);
}

#[test]
fn nobody_makes_banned_calls() {
    const BANNED: &[(&str, &str)] = &[
        ("#[allow(", "use #[expect(.., reason = \"..\")]"),
        ("#![allow(", "use #![expect(.., reason = \"..\")]"),
        ("thread::sleep(", "wait for an observable event"),
        ("unimplemented!(", "do it or leave it out"),
        ("unsafe {", "unsafe code is forbidden"),
    ];
    let mut findings = Vec::new();
    for (path, text) in rust_files().into_iter().filter(|(path, _)| !path.starts_with("tests/tidy")) {
        for (number, line) in text.lines().enumerate() {
            let hit = BANNED.iter().find(|(call, _)| line.contains(call));
            findings.extend(hit.map(|(call, instead)| format!("{path}:{}: {call} ({instead})", number + 1)));
            if line.contains("time::sleep(") && (path.starts_with("server/hub/") || path.contains("tests/")) {
                findings.push(format!("{path}:{}: sleep (move the clock or wait for the event)", number + 1));
            }
        }
    }
    assert_none("banned calls", &findings);
}

#[test]
fn lock_files_carry_no_download_addresses() {
    let findings: Vec<_> = files()
        .into_iter()
        .filter(|(path, text)| path.ends_with("package-lock.json") && text.contains("\"resolved\""))
        .map(|(path, _)| path)
        .collect();
    assert_none("npm lock files with addresses", &findings);
}

/// The part of a file before its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn string_literals(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// Words that only a wire would use; plain words such as "status" may mean other things elsewhere.
fn is_wire_word(literal: &str) -> bool {
    let has_mark = literal.chars().any(|c| matches!(c, '/' | '$' | ':' | '-')) && !literal.contains(' ');
    literal.len() >= 5 && has_mark && !literal.contains("{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_finder_finds() {
        assert_eq!(string_literals(r#"const A: &str = "$iothub/twin"; // "no""#)[0], "$iothub/twin");
        assert!(is_wire_word("$iothub/twin") && is_wire_word("iothub-errorcode"));
        assert!(!is_wire_word("status") && !is_wire_word("a b/c"));
    }
}
