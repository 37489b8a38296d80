//! The service's REST API and the admin API described in OpenAPI 3.1, a file each beside this one and both served
//! by the admin listener. The tests hold them against the routes; those of the head hold every answer's status
//! against the service's document.

use axum::response::Response;

use crate::{names, render};

const ADMIN: &str = include_str!("openapi/admin.json");
const SERVICE: &str = include_str!("openapi/service.json");

pub(crate) async fn of_admin_api() -> Response {
    render::text(ADMIN, names::value::JSON)
}

pub(crate) async fn of_service_api() -> Response {
    render::text(SERVICE, names::value::JSON)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;
    use serde_json::{Map, Value};

    use super::*;
    use crate::{admin, calls, identity_calls};

    /// Both documents, each with what it describes.
    fn documents() -> [(Value, Vec<(Method, &'static str)>); 2] {
        let parsed = |text| serde_json::from_str(text).unwrap();
        [(parsed(ADMIN), admin::routes().listed), (parsed(SERVICE), calls().listed)]
    }

    /// Verb, path and operation, and what all operations of the path share.
    fn operations(document: &Value) -> Vec<(String, &str, &Value, &Map<String, Value>)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().unwrap();
                let operations = item.iter().filter(|(name, _)| *name != "parameters");
                operations.map(move |(verb, operation)| (verb.to_uppercase(), path.as_str(), operation, item))
            })
            .collect()
    }

    #[test]
    fn a_document_lists_exactly_the_routes() {
        for (document, listed) in documents() {
            let documented: BTreeSet<_> =
                operations(&document).into_iter().map(|(verb, path, ..)| (verb, path.to_owned())).collect();
            let listed: BTreeSet<_> =
                listed.iter().map(|(verb, path)| (verb.to_string(), (*path).to_owned())).collect();
            assert_eq!(documented, listed);
        }
    }

    #[test]
    fn every_operation_is_named_once_and_declares_an_answer_and_its_path_parameters() {
        for (document, _) in documents() {
            assert_eq!(document["openapi"], "3.1.0");
            let mut names = BTreeSet::new();
            for (verb, path, operation, item) in operations(&document) {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} occurs twice");
                assert!(operation["responses"].as_object().is_some_and(|it| !it.is_empty()), "{verb} {path}");
                let in_template: BTreeSet<_> =
                    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
                assert_eq!(in_template, declared_in_path(&document, operation, item), "{verb} {path}");
            }
        }
    }

    /// The path parameters of an operation by name.
    fn declared_in_path<'a>(
        document: &'a Value,
        operation: &'a Value,
        item: &'a Map<String, Value>,
    ) -> BTreeSet<&'a str> {
        let own = operation["parameters"].as_array().into_iter().flatten();
        let shared = item.get("parameters").and_then(Value::as_array).into_iter().flatten();
        own.chain(shared)
            .map(|parameter| match parameter["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => parameter,
            })
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        for (document, _) in documents() {
            let mut used = BTreeSet::new();
            let mut pending = vec![&document];
            while let Some(value) = pending.pop() {
                match value {
                    Value::Object(members) => {
                        if let Some(Value::String(reference)) = members.get("$ref") {
                            let pointer = reference.strip_prefix('#').unwrap();
                            assert!(document.pointer(pointer).is_some(), "{reference}");
                            used.insert(pointer.to_owned());
                        }
                        pending.extend(members.values());
                    }
                    Value::Array(elements) => pending.extend(elements),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                }
            }
            for kind in ["parameters", "responses", "schemas"] {
                for name in document["components"][kind].as_object().into_iter().flat_map(Map::keys) {
                    assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind} {name} is unused");
                }
            }
        }
    }

    #[test]
    fn requests_for_every_call_are_put_right_before_they_are_routed() {
        for (_, path) in calls().merge(identity_calls()).listed {
            assert!(names::path::TEMPLATES.contains(&path), "{path}");
        }
    }
}
