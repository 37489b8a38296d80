//! A JSON body in lines: what fits a line stays on one, what does not has a line for each member or element.

use serde_json::Value;

/// Characters of a line.
const WIDTH: usize = 110;

pub(crate) fn lines(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    lay(&mut lines, 0, "", value, "");
    lines
}

/// Writes `before`, the value and `after`, indented by `depth`.
fn lay(lines: &mut Vec<String>, depth: usize, before: &str, value: &Value, after: &str) {
    let margin = " ".repeat(2 * depth);
    let whole = format!("{margin}{before}{value}{after}");
    match value {
        Value::Object(members) if whole.len() > WIDTH => {
            lines.push(format!("{margin}{before}{{"));
            let last = members.len() - 1;
            for (index, (name, member)) in members.iter().enumerate() {
                let name = Value::from(name.as_str());
                lay(lines, depth + 1, &format!("{name}: "), member, if index < last { "," } else { "" });
            }
            lines.push(format!("{margin}}}{after}"));
        }
        Value::Array(elements) if whole.len() > WIDTH => {
            lines.push(format!("{margin}{before}["));
            let last = elements.len() - 1;
            for (index, element) in elements.iter().enumerate() {
                lay(lines, depth + 1, "", element, if index < last { "," } else { "" });
            }
            lines.push(format!("{margin}]{after}"));
        }
        _ => lines.push(whole),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_a_line_stays_on_one_and_what_does_not_is_split_outermost_first() {
        assert_eq!(lines(&json!({ "a": [1, { "b": null }] })), [r#"{"a":[1,{"b":null}]}"#]);
        let long = "x".repeat(WIDTH);
        let split = lines(&json!({ "a": long, "b": [1, 2] }));
        assert_eq!(
            split,
            ["{".to_owned(), format!("  \"a\": \"{long}\","), "  \"b\": [1,2]".into(), "}".into()]
        );
    }
}
