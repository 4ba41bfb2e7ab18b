//! Examples of bodies, by the name of their schema. Types with an example of their own (`#[schema(example = …)]`) need
//! none here.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::{
    Content, Ref, RefOr, Schema,
    example::{Example, ExampleBuilder},
    schema::ArrayItems,
};

/// What a real link looks like, and the rest; a test holds that each is what its schema says.
static EXAMPLES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let written = serde_json::from_str(include_str!("examples.json"));
    let mut examples: Map<String, Value> = written.unwrap_or_default();
    if let Some(entry) = examples.get("ErrorEntry").cloned() {
        examples.insert("ErrorEntryList".to_owned(), json!([entry]));
    }
    if let Some(page) = examples.get("Link").map(link_page) {
        examples.insert("LinkPage".to_owned(), page);
    }
    examples
});

/// The examples, for the document's components.
pub fn components() -> impl Iterator<Item = (String, RefOr<Example>)> {
    let examples = EXAMPLES.iter();
    examples.map(|(name, value)| {
        let example = ExampleBuilder::new().value(Some(value.clone())).build();
        (name.clone(), example.into())
    })
}

/// Names the example that fits the body's schema, unless the route gives one itself.
pub fn add(content: &mut Content) {
    let schema = content.schema.as_ref().and_then(name_of);
    let known = schema.filter(|name| EXAMPLES.contains_key(name));
    if let (Some(name), None, true) = (known, &content.example, content.examples.is_empty()) {
        let shared = Ref::new(format!("#/components/examples/{name}"));
        content.examples.insert(name, RefOr::Ref(shared));
    }
}

fn name_of(schema: &RefOr<Schema>) -> Option<String> {
    match schema {
        RefOr::Ref(named) => named.ref_location.rsplit('/').next().map(str::to_owned),
        RefOr::T(Schema::Array(list)) => match &list.items {
            ArrayItems::RefOrSchema(item) => Some(format!("{}List", name_of(item)?)),
            ArrayItems::False => None,
        },
        RefOr::T(_) => None,
    }
}

/// Lists show of a link what it is, not how it came to be.
fn link_page(link: &Value) -> Value {
    let mut summary = link.clone();
    if let Some(fields) = summary.as_object_mut() {
        fields.retain(|name, _| !["steps", "conditions", "resources"].contains(&name.as_str()));
    }
    json!({ "links": [summary], "next_cursor": "MDE5MzAyZjAtYzFiNC03Y2MyLWExZjUtZDNlOGI3YTY5YzAx" })
}
