//! `config`: the effective configuration as a TOML file with the origin of each value behind it. Rows that are
//! more than a value are comments; keys of policies are never shown.

use crate::config::Config;

pub(super) fn text(config: &Config) -> String {
    let rows = config.rows();
    let lines: Vec<_> = rows
        .into_iter()
        .map(|(name, value, origin)| {
            let line =
                if name.contains(' ') { format!("# {name}: {value}") } else { format!("{name} = {value}") };
            (line, origin)
        })
        .collect();
    let width =
        lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= WIDTH).max().unwrap_or(0);
    lines.into_iter().map(|(line, origin)| format!("{line:<width$}  # {origin}\n")).collect()
}

/// A longer line does not push all origins to the right.
const WIDTH: usize = 60;
