//! `/openapi.json`: the admin API described in OpenAPI 3.1, a file beside this one. The tests hold it against the
//! routes.

use axum::response::Response;

use crate::{names, render};

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> Response {
    render::text(DOCUMENT, names::value::JSON)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::admin::routes;

    fn parsed() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object()
                    .unwrap()
                    .iter()
                    .map(|(verb, operation)| (verb.to_uppercase(), path.clone(), operation))
            })
            .collect()
    }

    #[test]
    fn the_document_lists_exactly_the_routes() {
        let document = parsed();
        let documented: BTreeSet<_> =
            operations(&document).into_iter().map(|(verb, path, _)| (verb, path)).collect();
        let listed: BTreeSet<_> =
            routes().listed.iter().map(|(verb, path)| (verb.to_string(), (*path).to_owned())).collect();
        assert_eq!(documented, listed);
    }

    #[test]
    fn every_operation_is_named_once_declares_its_path_parameters_and_an_answer() {
        let document = parsed();
        assert_eq!(document["openapi"], "3.1.0");
        let mut names = BTreeSet::new();
        for (verb, path, operation) in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} occurs twice");
            assert!(operation["responses"].as_object().is_some_and(|it| !it.is_empty()), "{verb} {path}");
            let in_template = path.contains("{name}");
            let is_declared = operation["parameters"].as_array().is_some_and(|parameters| {
                parameters.iter().any(|parameter| parameter["$ref"] == "#/components/parameters/name")
            });
            assert_eq!(in_template, is_declared, "{verb} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = parsed();
        let mut pending = vec![&document];
        while let Some(value) = pending.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    pending.extend(members.values());
                }
                Value::Array(elements) => pending.extend(elements),
                _ => {}
            }
        }
    }
}
