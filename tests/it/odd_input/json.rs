//! JSON that is odd: good bodies with some places changed, and texts that are hardly JSON any more.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Number, Value};

/// Stands in a value for a text that no [`Value`] can hold.
const RAW: &str = "@raw@";

/// Texts for one value: numbers out of every range, halves of characters, doubled names, no JSON at all.
const RAW_TEXTS: [&str; 10] = [
    "1e999",
    "-1E-999",
    "-0",
    "123456789012345678901234567890",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"a\": 1, \"a\": 2}",
    "NaN",
    "0x10",
    "'main'",
];

const STRINGS: [&str; 14] = [
    "",
    " ",
    "\u{0}",
    "a\u{0}b",
    "\u{202e}txt.exe",
    "e\u{301}",
    "𝕏🦀",
    "\u{feff}",
    "../../etc/passwd",
    "%00",
    "'; drop table links; --",
    "https://github.com/acme/docs\nx-evil: 1",
    "${HOME}`id`$(id)",
    "ﬀ İ ß",
];

/// A string that a form would hardly send.
pub fn odd_string() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(STRINGS.as_slice()).prop_map(str::to_owned),
        ".{0,40}",
        "[a-z0-9/:@.~^-]{1,60}",
        (any::<char>(), 1..3000_usize).prop_map(|(char, times)| char.to_string().repeat(times)),
    ]
}

fn odd_number() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter_map("JSON has no NaN", Number::from_f64);
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        prop::sample::select([i64::MIN, -1, 0, i64::MAX].as_slice()).prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        float.prop_map(Value::Number),
    ]
}

fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        odd_number(),
        odd_string().prop_map(Value::from),
        (0..RAW_TEXTS.len()).prop_map(|number| Value::from(format!("{RAW}{number}"))),
    ];
    let deep = (leaf.clone(), 1..200_usize, any::<bool>()).prop_map(|(value, depth, objects)| {
        (0..depth).fold(value, |inside, _| match objects {
            true => Value::Object(Map::from_iter([("a".to_owned(), inside)])),
            false => Value::Array(vec![inside]),
        })
    });
    let nested = leaf.clone().prop_recursive(4, 40, 6, |inside| {
        let pairs = vec((odd_string(), inside.clone()), 0..6);
        prop_oneof![
            vec(inside, 0..6).prop_map(Value::from),
            pairs.prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    prop_oneof![6 => leaf, 3 => nested, 1 => deep]
}

/// One change somewhere in a value.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Add(String, Value),
    Remove,
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        6 => odd_value().prop_map(Change::Replace),
        2 => (odd_string(), odd_value()).prop_map(|(name, value)| Change::Add(name, value)),
        2 => Just(Change::Remove),
    ];
    (any::<Index>(), change)
}

/// The bytes of a body made from one of these.
pub fn body(good: Vec<Value>) -> impl Strategy<Value = Vec<u8>> {
    let whole =
        (prop::sample::select(good), vec(change(), 0..4)).prop_map(|(mut value, changes)| {
            for (at, change) in changes {
                apply(&mut value, at, change);
            }
            to_text(&value).into_bytes()
        });
    let whole = whole.boxed();
    let broken = (whole.clone(), any::<Index>(), vec(any::<u8>(), 0..6)).prop_map(
        |(mut text, at, bytes)| {
            let at = at.index(text.len() + 1);
            match bytes.is_empty() {
                true => text.truncate(at),
                false => drop(text.splice(at..at, bytes)),
            }
            text
        },
    );
    let nothing_but_depth = (1..70_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes());
    prop_oneof![12 => whole, 3 => broken, 1 => nothing_but_depth]
}

fn to_text(value: &Value) -> String {
    let text = value.to_string();
    // From the last on, because the first is a prefix of others.
    let raw = RAW_TEXTS.iter().enumerate().rev();
    raw.fold(text, |text, (number, raw)| {
        text.replace(&format!("\"{RAW}{number}\""), raw)
    })
}

/// Pointers of all places in a value.
fn places(value: &Value, here: String, found: &mut Vec<String>) {
    let inside = |name: &str| format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                places(value, inside(name), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, inside(&index.to_string()), found);
            }
        }
        _ => {}
    }
    found.push(here);
}

fn apply(value: &mut Value, at: Index, change: Change) {
    let mut found = Vec::new();
    places(value, String::new(), &mut found);
    let pointer = at.get(&found);
    let place = value.pointer_mut(pointer);
    match (change, place) {
        (Change::Replace(new), Some(place)) => *place = new,
        (Change::Add(name, new), Some(Value::Object(fields))) => {
            fields.insert(name, new);
        }
        (Change::Add(_, new), Some(Value::Array(items))) => items.push(new),
        (Change::Remove, _) => remove(value, pointer),
        // Nothing can be added here.
        (Change::Add(..), _) | (_, None) => {}
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((around, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(around) {
        Some(Value::Object(fields)) => drop(fields.remove(&name)),
        Some(Value::Array(items)) => drop(name.parse().map(|index: usize| items.remove(index))),
        _ => {}
    }
}
