//! The description is complete: what linters cannot know.

use serde_json::{Value, json};

use crate::api::document;

fn description() -> Value {
    serde_norway::from_str(&document().unwrap()).unwrap()
}

/// What is meant, when it is only named.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let named = value["$ref"].as_str();
    named.map_or(value, |place| {
        description.pointer(place.trim_start_matches('#')).unwrap()
    })
}

/// Every operation with its place.
fn operations(description: &Value) -> Vec<(String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

/// The JSON contents of an operation's request and of its answers.
fn contents<'a>(description: &'a Value, operation: &'a Value) -> Vec<(String, &'a Value)> {
    let request = [("the request".to_owned(), &operation["requestBody"])];
    let answers = operation["responses"].as_object().unwrap().iter();
    let answers = answers.map(|(status, answer)| (format!("answer {status}"), answer));
    let bodies = request.into_iter().chain(answers);
    let contents = bodies.flat_map(|(what, body)| {
        let by_type = resolved(description, body)["content"]
            .as_object()
            .into_iter()
            .flatten();
        let json = by_type.filter(|(media_type, _)| media_type.ends_with("json"));
        json.map(move |(_, content)| (what.clone(), content))
    });
    contents.collect()
}

fn examples<'a>(description: &'a Value, content: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(description, &content["schema"]);
    let named = content["examples"].as_object().into_iter().flatten();
    let named = named.map(|(_, example)| resolved(description, example).get("value"));
    named
        .chain([content.get("example"), schema.get("example")])
        .flatten()
        .collect()
}

#[test]
fn every_body_has_an_example_and_every_example_fits_its_schema() {
    let description = description();
    for (place, operation) in operations(&description) {
        for (what, content) in contents(&description, operation) {
            let examples = examples(&description, content);
            assert!(
                !examples.is_empty(),
                "{place}: {what} has no example: give its type one, or its schema's name in description/examples.json"
            );
            let whole = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [content["schema"]],
                "components": description["components"],
            });
            let schema = jsonschema::validator_for(&whole).unwrap();
            for example in examples {
                let wrong: Vec<_> = schema
                    .iter_errors(example)
                    .map(|error| error.to_string())
                    .collect();
                assert!(
                    wrong.is_empty(),
                    "{place}: the example of {what}: {wrong:#?}"
                );
            }
        }
    }
}

#[test]
fn every_operation_says_what_it_is_and_how_it_refuses() {
    let description = description();
    for (place, operation) in operations(&description) {
        for word in ["operationId", "summary", "description"] {
            assert!(operation[word].is_string(), "{place} has no {word}");
        }
        assert_eq!(
            operation["tags"].as_array().map(Vec::len),
            Some(1),
            "{place}"
        );
        let answers = operation["responses"].as_object().unwrap();
        let mut needed = Vec::new();
        // `security: [{}]` says that nobody has to be known.
        if operation["security"] != json!([{}]) {
            needed.extend(["401", "403", "429", "500", "503"]);
        }
        if place.contains("{id}") {
            needed.push("404");
        }
        if operation.get("requestBody").is_some() {
            needed.extend(["400", "413", "415", "422"]);
        }
        for status in needed {
            assert!(
                answers.contains_key(status),
                "{place} does not describe {status}"
            );
        }
        for (status, answer) in answers {
            let answer = resolved(&description, answer);
            assert!(
                answer["headers"]["x-request-id"].is_object(),
                "{place}: {status}"
            );
        }
    }
}
