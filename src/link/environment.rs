//! Environment variables of a site: as callers ask for them, and as links remember them.
//!
//! A value is a secret, whether it is marked as one or not: it is sealed and kept apart from the link, and nothing here
//! shows it. Names, contexts and marks are part of the link.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::{
    ToSchema,
    openapi::{
        ArrayBuilder, Object, ObjectBuilder, OneOfBuilder,
        schema::{AdditionalProperties, Schema, SchemaType, Type},
    },
};
use zeroize::Zeroizing;

use super::request::{Check, is_branch, pointer_part};

const VARIABLES_MAX: usize = 100;
const NAME_MAX: usize = 255;
/// Longest value, in characters.
const VALUE_MAX: usize = 5000;
const CONTEXTS_MAX: usize = 20;

/// What comes before the name in the context of one branch.
pub const BRANCH: &str = "branch:";
/// Netlify's own contexts, beside single branches.
const CONTEXTS: [&str; 5] = [
    "production",
    "deploy-preview",
    "branch-deploy",
    "dev",
    "dev-server",
];
/// Contexts in which Netlify shows values to people, so that it takes no secret for them (netlify-cli, `env:set`).
const LOCAL: [&str; 2] = ["dev", "dev-server"];

const NAME_RULE: &str =
    "use names of a letter and up to 254 more letters, digits and '_'; at most 100 variables";
const VALUE_RULE: &str = "use 1 to 5000 characters without NUL";
const CONTEXT_RULE: &str = "use up to 20 of `production`, `deploy-preview`, `branch-deploy`, `dev`, `dev-server` and `branch:NAME`, or leave it out for all";
const SECRET_RULE: &str = "leave out `dev` and `dev-server`: Netlify takes no secret for them";

/// Variables by name.
pub type Environment = BTreeMap<String, EnvVariable>;

/// A variable with its value.
#[derive(Debug, Clone)]
pub struct EnvVariable {
    /// The value. `Debug` does not show it.
    pub value: SecretString,
    /// What may be shown.
    pub settings: EnvSettings,
}

/// What may be shown of a variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvSettings {
    /// Deploy contexts in which it has the value, in Netlify's words, and `branch:NAME`; absent: all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contexts: BTreeSet<String>,
    /// Whether Netlify shows the value to nobody.
    #[serde(default)]
    pub secret: bool,
}

/// The long form of a variable.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    value: SecretString,
    contexts: Option<BTreeSet<String>>,
    #[serde(default)]
    secret: bool,
}

/// The long form as it is written; the only place where a value leaves as text.
#[derive(Serialize)]
struct Shown<'a> {
    value: &'a str,
    #[serde(flatten)]
    settings: &'a EnvSettings,
}

impl Serialize for EnvVariable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            value: self.value.expose_secret(),
            settings: &self.settings,
        };
        shown.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EnvVariable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

/// Reads a value alone, or an object.
struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = EnvVariable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object with `value`")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<EnvVariable, E> {
        Ok(EnvVariable {
            value: value.into(),
            settings: EnvSettings::default(),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<EnvVariable, A::Error> {
        let whole = Whole::deserialize(MapAccessDeserializer::new(fields))?;
        let contexts = whole.contexts;
        if contexts.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(A::Error::custom("name a context, or leave out `contexts`"));
        }
        Ok(EnvVariable {
            value: whole.value,
            settings: EnvSettings {
                contexts: contexts.unwrap_or_default(),
                secret: whole.secret,
            },
        })
    }
}

/// Checks names, values and contexts.
pub(super) fn check(environment: &Environment, check: &mut Check) {
    check.that(environment.len() <= VARIABLES_MAX, "/env", NAME_RULE);
    for (name, variable) in environment {
        let pointer = format!("/env/{}", pointer_part(name));
        check.that(is_name(name), &pointer, NAME_RULE);
        let value = variable.value.expose_secret();
        let fits = (1..=VALUE_MAX).contains(&value.chars().count()) && !value.contains('\0');
        check.that(fits, &pointer, VALUE_RULE);
        let contexts = &variable.settings.contexts;
        let pointer = format!("{pointer}/contexts");
        let known = contexts.len() <= CONTEXTS_MAX && contexts.iter().all(|it| is_context(it));
        check.that(known, &pointer, CONTEXT_RULE);
        let is_local = LOCAL.iter().any(|local| contexts.contains(*local));
        check.that(
            !(variable.settings.secret && is_local),
            &pointer,
            SECRET_RULE,
        );
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_context(context: &str) -> bool {
    match context.strip_prefix(BRANCH) {
        Some(branch) => is_branch(branch),
        None => CONTEXTS.contains(&context),
    }
}

/// What a link remembers of its variables in the open.
pub fn settings(environment: &Environment) -> BTreeMap<String, EnvSettings> {
    let shown =
        |(name, variable): (&String, &EnvVariable)| (name.clone(), variable.settings.clone());
    environment.iter().map(shown).collect()
}

/// The values as they are sealed; equal for equal values.
///
/// # Errors
/// When JSON cannot be written, which text can.
pub fn to_stored(environment: &Environment) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let values = environment.iter();
    let values: BTreeMap<_, _> = values
        .map(|(name, variable)| (name, variable.value.expose_secret()))
        .collect();
    serde_json::to_vec(&values).map(Zeroizing::new)
}

/// Puts together what [`settings`] and [`to_stored`] took apart; nothing when it does not fit together.
pub fn from_stored(settings: &BTreeMap<String, EnvSettings>, stored: &[u8]) -> Option<Environment> {
    let mut values: BTreeMap<String, SecretString> = serde_json::from_slice(stored).ok()?;
    let mut variable = |(name, settings): (&String, &EnvSettings)| {
        let value = values.remove(name)?;
        let settings = settings.clone();
        Some((name.clone(), EnvVariable { value, settings }))
    };
    settings.iter().map(&mut variable).collect()
}

/// The limits of [`check`], which attributes cannot say.
pub(super) fn schema() -> Object {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(NAME_MAX))
        .pattern(Some("^[A-Za-z][A-Za-z0-9_]*$"));
    let either = OneOfBuilder::new()
        .item(value_schema(
            "The value alone: in all contexts, and not marked as secret.",
        ))
        .item(whole_schema());
    ObjectBuilder::new()
        .description(Some("Environment variables of the site by name, set before the first build. Values go in and are never shown again. Each is its value alone, or an object."))
        .max_properties(Some(VARIABLES_MAX))
        .property_names(Some(name.build()))
        .additional_properties(Some(Schema::OneOf(either.build())))
        .build()
}

fn value_schema(description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .write_only(true)
        .min_length(Some(1))
        .max_length(Some(VALUE_MAX))
        .pattern(Some(r"^[^\x00]*$"))
        .build()
}

fn whole_schema() -> Object {
    let context = ObjectBuilder::new().schema_type(Type::String).pattern(Some(
        "^(production|deploy-preview|branch-deploy|dev|dev-server|branch:.+)$",
    ));
    let contexts = ArrayBuilder::new()
        .description(Some("Deploy contexts in which it has the value, in Netlify's words, and `branch:NAME`. Default: all; of a secret, all but `dev` and `dev-server`, for which Netlify takes none."))
        .items(context)
        .min_items(Some(1))
        .max_items(Some(CONTEXTS_MAX));
    let secret = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Boolean))
        .description(Some(
            "Whether Netlify shall show the value to nobody. Default: false.",
        ));
    ObjectBuilder::new()
        .title(Some("EnvVariable"))
        .property("value", value_schema("The value."))
        .property("contexts", contexts)
        .property("secret", secret)
        .required("value")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Environment, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_alone_is_the_short_form() {
        let environment = read(r#"{"A": "canary", "B": {"value": "canary"}}"#).unwrap();
        assert_eq!(environment["A"].settings, environment["B"].settings);
        assert!(!format!("{environment:?}").contains("canary"));
        for odd in [
            r#"{"A": 1}"#,
            r#"{"A": ["x"]}"#,
            r#"{"A": {}}"#,
            r#"{"A": {"value": "x", "contexts": []}}"#,
        ] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_is_taken_apart_fits_together_again() {
        let environment =
            read(r#"{"A": "x", "B": {"value": "y\n", "contexts": ["dev"], "secret": true}}"#)
                .unwrap();
        let stored = to_stored(&environment).unwrap();
        let again = from_stored(&settings(&environment), &stored).unwrap();
        assert_eq!(to_stored(&again).unwrap(), stored);
        assert_eq!(settings(&again), settings(&environment));
        assert!(from_stored(&settings(&environment), b"{\"A\": \"x\"}").is_none());
    }
}
