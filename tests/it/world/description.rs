//! `openapi.yaml`, and whether requests and answers are what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Answer;

/// The file in the repository.
pub const FILE: &str = include_str!("../../../openapi.yaml");

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| Description {
    document: serde_norway::from_str(FILE).expect("openapi.yaml is YAML"),
    validators: Mutex::default(),
});

/// The API's description, ready to be compared with.
pub struct Description {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Description {
    /// The one in the repository.
    pub fn get() -> &'static Self {
        &DESCRIPTION
    }

    /// Compares an exchange with the description. What the description does not know at all (paths, methods) passes.
    ///
    /// # Panics
    /// When the answer is not what the description says, or a body was accepted that it forbids.
    pub fn check(&self, method: &Method, path: &str, sent: Option<&Value>, answer: &Answer) {
        let method = method.as_str().to_ascii_lowercase();
        let path = path.split('?').next().unwrap_or_default();
        let Some(template) = self.template(path) else {
            return;
        };
        let operation = format!("/paths/{}/{method}", escape(template));
        if self.document.pointer(&operation).is_none() {
            return;
        }
        let schema = format!("{operation}/requestBody/content/application~1json/schema");
        let takes_body = self.document.pointer(&schema).is_some();
        let accepted = takes_body && (200..300).contains(&answer.status);
        if let Some(sent) = sent.filter(|_| accepted) {
            self.compare(
                &schema,
                sent,
                &format!("{method} {path}: the accepted body"),
            );
        }
        self.check_answer(&operation, answer, &format!("{method} {path}"));
    }

    /// Compares a value with a schema of the description.
    ///
    /// # Panics
    /// When it is another thing, or there is no such schema.
    pub fn check_named(&self, name: &str, value: &Value, what: &str) {
        let schema = format!("/components/schemas/{name}");
        assert!(
            self.document.pointer(&schema).is_some(),
            "{what}: openapi.yaml has no schema {name}"
        );
        self.compare(&schema, value, what);
    }

    /// Operations that change something.
    pub fn writing_operations(&self) -> BTreeSet<&str> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(_, path)| path.as_object().into_iter().flatten());
        operations
            .filter(|(method, _)| ["post", "put", "patch", "delete"].contains(&method.as_str()))
            .filter(|(_, operation)| is_of_callers(operation))
            .filter_map(|(_, operation)| operation["operationId"].as_str())
            .collect()
    }

    /// Operations that want a caller, each with the names of its parameters, and `body` when it has one.
    pub fn operations_of_callers(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(_, path)| path.as_object().into_iter().flatten());
        let of_callers = operations.filter(|(_, operation)| {
            is_of_callers(operation) && operation["responses"].get("401").is_some()
        });
        let named = of_callers.map(|(_, operation)| {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter_map(|parameter| parameter["name"].as_str());
            let body = operation.get("requestBody").map(|_| "body");
            let id = operation["operationId"].as_str().expect("an id");
            (id, names.chain(body).collect())
        });
        named.collect()
    }

    fn check_answer(&self, operation: &str, answer: &Answer, what: &str) {
        let status = answer.status;
        let place = format!("{operation}/responses/{status}");
        let described = self.document.pointer(&place);
        let described = described
            .unwrap_or_else(|| panic!("{what}: {status} is not described: {}", answer.text));
        // Answers that many operations have are described once.
        let (place, described) = match described["$ref"].as_str() {
            Some(shared) => {
                let place = shared.trim_start_matches('#').to_owned();
                let described = self.document.pointer(&place);
                (place, described.expect("a reference leads somewhere"))
            }
            None => (place, described),
        };
        let Some(content) = described.get("content") else {
            assert!(answer.text.is_empty(), "{what}: {status} has a body");
            return;
        };
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        assert!(
            content.get(media_type).is_some(),
            "{what}: {status} is not described as {media_type}"
        );
        if media_type.ends_with("json") {
            let schema = format!("{place}/content/{}/schema", escape(media_type));
            self.compare(
                &schema,
                &answer.body,
                &format!("{what}: the body of {status}"),
            );
        }
    }

    fn compare(&self, schema: &str, value: &Value, what: &str) {
        let wrong: Vec<_> = self
            .validator(schema)
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{what} is not as described: {wrong:#?}");
    }

    fn validator(&self, schema: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("no test panicked in here");
        let validator = validators.entry(schema.to_owned()).or_insert_with(|| {
            let whole = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [self.document.pointer(schema)],
                "components": self.document["components"],
            });
            Arc::new(jsonschema::validator_for(&whole).expect("openapi.yaml holds schemas"))
        });
        validator.clone()
    }

    fn template(&self, path: &str) -> Option<&str> {
        let paths = self.document["paths"].as_object()?;
        let matches = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            let parts = wanted.by_ref().zip(given.by_ref());
            let fit = parts
                .into_iter()
                .all(|(wanted, given)| match wanted.starts_with('{') {
                    true => !given.is_empty(),
                    false => wanted == given,
                });
            fit && template.split('/').count() == path.split('/').count()
        };
        paths
            .keys()
            .map(String::as_str)
            .find(|template| matches(template))
    }
}

/// One segment of a JSON pointer.
fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// Netlify, which tells of deploys, is no caller.
fn is_of_callers(operation: &Value) -> bool {
    operation["security"] != json!([{}])
}
