//! An OpenAPI 3.1 extract, read for one purpose: is this call allowed?

use std::collections::HashMap;
use std::sync::OnceLock;

use anyhow::Context;
use axum::http::StatusCode;
use jsonschema::Validator;
use regex::Regex;
use serde_json::{Map, Value, json};

/// Problems told per body; one misunderstanding tends to cause many.
const PROBLEMS_LIMIT: usize = 8;

/// All operations of a vendor that the sandbox answers.
#[derive(Debug)]
pub struct Description {
    operations: Vec<Operation>,
    components: Value,
}

/// One method of one path.
#[derive(Debug)]
pub struct Operation {
    method: String,
    path: Regex,
    /// Fixed segments first: `/hooks/types` before `/hooks/{hook_id}`.
    variables: usize,
    query: HashMap<String, QueryParameter>,
    body: Option<RequestBody>,
    answers: HashMap<u16, Option<Schema>>,
}

#[derive(Debug)]
struct QueryParameter {
    required: bool,
    kind: Option<String>,
}

#[derive(Debug)]
struct RequestBody {
    required: bool,
    schema: Schema,
}

/// A schema that is compiled when it is first needed.
#[derive(Debug)]
struct Schema {
    source: Value,
    compiled: OnceLock<Result<Validator, String>>,
}

impl Description {
    /// Reads an extract.
    ///
    /// # Errors
    /// When it is no OpenAPI document of the expected shape.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let paths = document["paths"].as_object().context("no paths")?;
        let mut operations = Vec::new();
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().context("a path without methods")? {
                operations.push(Operation::parse(path, method, operation)?);
            }
        }
        operations.sort_by_key(|o| o.variables);
        Ok(Self {
            operations,
            components: document["components"].clone(),
        })
    }

    /// Compiles all schemas now instead of at their first use.
    pub fn warm_up(&self) {
        for operation in &self.operations {
            let body = operation.body.iter().map(|b| &b.schema);
            for schema in body.chain(operation.answers.values().flatten()) {
                schema.validator(&self.components);
            }
        }
    }

    /// The operation for a request, if the vendor describes one.
    pub fn find(&self, method: &str, path: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|o| o.method == method && o.path.is_match(path))
    }
}

impl Operation {
    fn parse(path: &str, method: &str, operation: &Value) -> anyhow::Result<Self> {
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let in_query = parameters.iter().filter(|p| p["in"] == "query");
        let answers = operation["responses"].as_object().context("no responses")?;
        Ok(Self {
            method: method.to_uppercase(),
            path: pattern(path)?,
            variables: path.matches('{').count(),
            query: in_query.filter_map(query_parameter).collect(),
            body: request_body(&operation["requestBody"]),
            answers: answers
                .iter()
                .filter_map(|(status, answer)| Some((status.parse().ok()?, schema_of(answer))))
                .collect(),
        })
    }

    /// Unknown, missing and mistyped query parameters.
    pub fn query_problems(&self, query: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match self.query.get(name.as_ref()) {
                None => problems.push(format!("query parameter `{name}` is not described")),
                Some(parameter) if !parameter.accepts(&value) => {
                    problems.push(format!(
                        "query parameter `{name}` has a value of the wrong type"
                    ));
                }
                Some(_) => {}
            }
            seen.push(name.into_owned());
        }
        let required = self
            .query
            .iter()
            .filter(|(_, parameter)| parameter.required);
        let missing = required.filter(|(name, _)| !seen.contains(*name));
        problems.extend(missing.map(|(name, _)| format!("query parameter `{name}` is required")));
        problems
    }

    /// Whether the body is wanted, is JSON, says so, and fits its schema.
    pub fn body_problems(
        &self,
        description: &Description,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Vec<String> {
        // `{}` where no body is described is what several of the vendor's own clients send.
        let empty = body.is_empty() || body == b"{}";
        let Some(wanted) = &self.body else {
            return if empty {
                vec![]
            } else {
                vec!["no body is described".to_owned()]
            };
        };
        if body.is_empty() {
            let problem = "a body is required".to_owned();
            return if wanted.required {
                vec![problem]
            } else {
                vec![]
            };
        }
        if !content_type.is_some_and(|t| t.starts_with("application/json")) {
            return vec![format!(
                "content type {content_type:?} instead of application/json"
            )];
        }
        wanted.schema.problems(description, body)
    }

    /// An undescribed good status, or a body that does not fit. Errors may have any status: the vendors describe few.
    pub fn answer_problems(
        &self,
        description: &Description,
        status: StatusCode,
        body: &[u8],
    ) -> Vec<String> {
        match self.answers.get(&status.as_u16()) {
            Some(Some(schema)) => schema.problems(description, body),
            Some(None) => vec![],
            None if status.is_success() => vec![format!("status {status} is not described")],
            None => vec![],
        }
    }
}

impl QueryParameter {
    fn accepts(&self, value: &str) -> bool {
        match self.kind.as_deref() {
            Some("integer") => value.parse::<i64>().is_ok(),
            Some("boolean") => matches!(value, "true" | "false"),
            _ => true,
        }
    }
}

impl Schema {
    fn new(source: Value) -> Self {
        Self {
            source,
            compiled: OnceLock::new(),
        }
    }

    fn problems(&self, description: &Description, body: &[u8]) -> Vec<String> {
        let compiled = self
            .compiled
            .get_or_init(|| self.compile(&description.components));
        let validator = match compiled {
            Ok(validator) => validator,
            Err(error) => return vec![format!("the description itself is broken: {error}")],
        };
        match serde_json::from_slice::<Value>(body) {
            Err(error) => vec![format!("the body is not JSON: {error}")],
            Ok(body) => validator
                .iter_errors(&body)
                .take(PROBLEMS_LIMIT)
                .map(|e| format!("{}: {}", e.instance_path(), e.masked()))
                .collect(),
        }
    }

    fn validator(&self, components: &Value) -> &Result<Validator, String> {
        self.compiled.get_or_init(|| self.compile(components))
    }

    /// References point into the document, so the components travel with the schema.
    fn compile(&self, components: &Value) -> Result<Validator, String> {
        let root = json!({"allOf": [self.source], "components": components});
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        options.build(&root).map_err(|error| error.to_string())
    }
}

fn query_parameter(parameter: &Value) -> Option<(String, QueryParameter)> {
    let kind = parameter["schema"]["type"].as_str().map(str::to_owned);
    let required = parameter["required"] == true;
    Some((
        parameter["name"].as_str()?.to_owned(),
        QueryParameter { required, kind },
    ))
}

fn request_body(body: &Value) -> Option<RequestBody> {
    let schema = schema_of(body)?;
    let required = body["required"] == true;
    Some(RequestBody { required, schema })
}

fn schema_of(holder: &Value) -> Option<Schema> {
    let content: &Map<String, Value> = holder["content"].as_object()?;
    let json = content.get("application/json")?;
    Some(Schema::new(json["schema"].clone()))
}

/// Refs and branches may contain slashes, which clients need not encode at the end of a path.
fn pattern(path: &str) -> Result<Regex, regex::Error> {
    let mut pattern = String::from("^");
    for segment in path.split('/').skip(1) {
        pattern.push('/');
        match segment {
            "{ref}" | "{branch}" => pattern.push_str(".+"),
            variable if variable.starts_with('{') => pattern.push_str("[^/]+"),
            fixed => pattern.push_str(&regex::escape(fixed)),
        }
    }
    pattern.push('$');
    Regex::new(&pattern)
}
