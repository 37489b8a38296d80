//! What a run yields: rows of figures, shown as a table and kept as JSON lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The figures of one target under one load, in one round or at one size.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) load: String,
    pub(crate) target: String,
    /// The round, from 1, or the devices of the registry.
    pub(crate) at: u64,
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Row {
    pub(crate) fn new(load: &str, target: &str, at: u64, figures: &[(&str, f64)]) -> Self {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        Self { load: load.to_owned(), target: target.to_owned(), at, figures }
    }
}

/// Adds rows to a file, if there is to be one.
pub(crate) fn append(rows: &[Row], file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(row)?)?;
    }
    Ok(())
}

pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Rows of one kind under each other, with the names of their figures above.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else { return text };
    text.push_str(&format!("{:<18}{:<10}{:>10}", "load", "target", "at"));
    first.figures.keys().for_each(|name| text.push_str(&format!("{name:>18}")));
    text.push('\n');
    for row in rows {
        text.push_str(&format!("{:<18}{:<10}{:>10}", row.load, row.target, row.at));
        row.figures.values().for_each(|figure| text.push_str(&format!("{figure:>18.2}")));
        text.push('\n');
    }
    text
}

/// The middle one; of an even number the mean of the middle two.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    let lower = if figures.len().is_multiple_of(2) { *figures.get(middle.checked_sub(1)?)? } else { upper };
    Some(f64::midpoint(lower, upper))
}

/// Writes a line for the person who waits.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_of_nothing_there_is_none() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        let rows = [Row::new("l", "t", 1, &[("a", 0.5)]), Row::new("l", "u", 2, &[("a", 1.5)])];
        append(&rows[..1], Some(&file)).unwrap();
        append(&rows[1..], Some(&file)).unwrap();
        assert_eq!(read(&file).unwrap(), rows);
    }
}
