//! Goals, and what became of them (PERFORMANCE section 13).

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Deserialize;

use crate::rows::{self, Row, median};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goals {
    goal: Vec<Goal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goal {
    load: String,
    figure: String,
    target: String,
    /// The target whose figure is divided by ours, round by round.
    against: Option<String>,
    /// The load whose figure of the same target ours is divided by, round by round.
    over_load: Option<String>,
    /// The size of the registry, where rows have one.
    size: Option<u64>,
    /// The size whose figure ours is divided by.
    over_size: Option<u64>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

/// What becomes of a goal whose load was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmeasured {
    Said,
    Skipped,
}

/// Prints each goal with what the rows of a file reached.
pub(crate) fn check(rows: &Path, goals: &Path) -> anyhow::Result<ExitCode> {
    check_rows(&rows::read(rows)?, goals, Unmeasured::Said)
}

/// Prints each goal with what these rows reached; a failure where one is missed.
pub(crate) fn check_rows(rows: &[Row], goals: &Path, unmeasured: Unmeasured) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(goals).with_context(|| goals.display().to_string())?;
    let goals: Goals = toml::from_str(&text)?;
    let mut missed = 0;
    for goal in &goals.goal {
        let reached = goal.reached(rows);
        let verdict = match reached {
            Some(figure) if goal.is_met_by(figure) => "met",
            Some(_) => "MISSED",
            None if unmeasured == Unmeasured::Skipped => continue,
            None => "not measured",
        };
        missed += usize::from(verdict == "MISSED");
        let figure = reached.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"));
        rows::say(&format!("{:<14}{figure:>10}   {}", verdict, goal.text()));
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Goal {
    fn reached(&self, rows: &[Row]) -> Option<f64> {
        let ours = self.figures(rows, &self.load, &self.target, self.size);
        if let Some(other) = &self.against {
            let others = self.figures(rows, &self.load, other, self.size);
            return median(by_round(&others, &ours));
        }
        if let Some(other) = &self.over_load {
            let others = self.figures(rows, other, &self.target, self.size);
            return median(by_round(&ours, &others));
        }
        let ours = median(ours.into_iter().map(|(_, figure)| figure).collect())?;
        let Some(size) = self.over_size else { return Some(ours) };
        let smaller = self.figures(rows, &self.load, &self.target, Some(size));
        Some(ours / median(smaller.into_iter().map(|(_, figure)| figure).collect())?)
    }

    fn figures(&self, rows: &[Row], load: &str, target: &str, at: Option<u64>) -> Vec<(u64, f64)> {
        let fits = |row: &&Row| row.load == load && row.target == target && at.is_none_or(|at| row.at == at);
        let figure = |row: &Row| row.figures.get(&self.figure).map(|figure| (row.at, *figure));
        rows.iter().filter(fits).filter_map(figure).collect()
    }

    fn is_met_by(&self, figure: f64) -> bool {
        self.at_least.is_none_or(|least| figure >= least) && self.at_most.is_none_or(|most| figure <= most)
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} of {}", self.load, self.figure, self.target);
        let mut add = |label: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!(", {label} {value}"));
            }
        };
        add("under that of", self.against.clone());
        add("over that of", self.over_load.clone());
        add("at", self.size.map(|size| size.to_string()));
        add("over that at", self.over_size.map(|size| size.to_string()));
        add("at least", self.at_least.map(|least| least.to_string()));
        add("at most", self.at_most.map(|most| most.to_string()));
        text
    }
}

/// The first figure of each round over the second, where both were measured.
fn by_round(first: &[(u64, f64)], second: &[(u64, f64)]) -> Vec<f64> {
    let ratio = |(round, figure): &(u64, f64)| {
        second.iter().find(|(other, _)| other == round).map(|(_, other)| figure / other)
    };
    first.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(text: &str) -> Goal {
        toml::from_str(text).unwrap()
    }

    fn rows() -> Vec<Row> {
        vec![
            Row::new("get", "ours", 1, &[("us", 20.0)]),
            Row::new("get", "bare", 1, &[("us", 10.0)]),
            Row::new("get", "ours", 2, &[("us", 40.0)]),
            Row::new("get", "bare", 2, &[("us", 30.0)]),
        ]
    }

    #[test]
    fn the_goals_that_ship_can_be_read() {
        let text = include_str!("../goals.toml");
        assert!(!toml::from_str::<Goals>(text).unwrap().goal.is_empty());
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let goal = goal("load='get'\nfigure='us'\ntarget='ours'\nagainst='bare'\nat_least=0.6");
        let reached = goal.reached(&rows()).unwrap();
        assert!((reached - 0.625).abs() < 1e-9, "{reached}");
        assert!(goal.is_met_by(reached) && !goal.is_met_by(0.59));
    }

    #[test]
    fn a_load_is_held_against_another_of_the_same_round() {
        let mut rows = rows();
        rows.push(Row::new("get-alone", "ours", 2, &[("us", 50.0)]));
        let goal = goal("load='get'\nfigure='us'\ntarget='ours'\nover_load='get-alone'\nat_least=0.8");
        assert_eq!(goal.reached(&rows), Some(0.8));
        assert!(goal.is_met_by(0.8) && !goal.is_met_by(0.79));
    }

    #[test]
    fn growth_is_one_size_over_another() {
        let goal = goal("load='get'\nfigure='us'\ntarget='ours'\nsize=2\nover_size=1\nat_most=2.0");
        assert_eq!(goal.reached(&rows()), Some(2.0));
        assert!(goal.is_met_by(2.0) && !goal.is_met_by(2.1));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(goal("load='put'\nfigure='us'\ntarget='ours'\nat_most=1").reached(&rows()), None);
    }
}
