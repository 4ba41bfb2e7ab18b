//! Turns the JSON of an answer into something that its vendor never promised.

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::faults::Twist;

/// Members whose value is a word of a closed list.
const WORDS: [&str; 6] = ["state", "status", "type", "kind", "role", "visibility"];
/// How much longer a list becomes.
const MORE: u64 = 1000;

/// The body, twisted; as it was when it is no JSON.
pub fn twisted(twist: Twist, body: Bytes) -> Bytes {
    let Ok(mut json) = serde_json::from_slice(&body) else {
        return body;
    };
    match twist {
        Twist::LongList => lengthen(&mut json),
        Twist::EmptyList => {
            list_in(&mut json).map(Vec::clear);
        }
        _ => walk(&mut json, "", twist),
    }
    json.to_string().into()
}

fn walk(value: &mut Value, name: &str, twist: Twist) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, name, twist)),
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, name, twist);
            }
        }
        leaf => change(leaf, name, twist),
    }
}

fn change(leaf: &mut Value, name: &str, twist: Twist) {
    match (twist, &*leaf) {
        (Twist::WrongTypes, Value::String(text)) => *leaf = json!(text.len()),
        (Twist::WrongTypes, Value::Number(number)) => *leaf = json!(number.to_string()),
        (Twist::UnknownWords, Value::String(_)) if WORDS.contains(&name) => {
            *leaf = json!("something_new");
        }
        (Twist::NullIds, _) if name == "id" => *leaf = Value::Null,
        _ => {}
    }
}

/// The list itself, or the one in the object (`values`, `value`).
fn list_in(json: &mut Value) -> Option<&mut Vec<Value>> {
    match json {
        Value::Object(members) => members.values_mut().find_map(Value::as_array_mut),
        other => other.as_array_mut(),
    }
}

fn lengthen(json: &mut Value) {
    let Some(items) = list_in(json) else {
        return;
    };
    let Some(first) = items.first().cloned() else {
        return;
    };
    let mut longer: Vec<_> = (0..MORE).map(|number| another(&first, number)).collect();
    longer.append(items);
    *items = longer;
}

/// A copy that is another object.
fn another(of: &Value, number: u64) -> Value {
    let mut copy = of.clone();
    match copy.get_mut("id") {
        Some(Value::Number(id)) => *id = (4_000_000_000 + number).into(),
        Some(Value::String(id)) => *id = format!("{number:024x}"),
        _ => {}
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(twist: Twist, json: Value) -> Value {
        let twisted = twisted(twist, json.to_string().into());
        serde_json::from_slice(&twisted).expect("JSON")
    }

    #[test]
    fn each_twist_changes_what_it_names_and_nothing_else() {
        let before = json!({"id": 7, "name": "docs", "status": "ok", "owner": {"id": "a"}});
        assert_eq!(
            of(Twist::WrongTypes, before.clone()),
            json!({"id": "7", "name": 4, "status": 2, "owner": {"id": 1}})
        );
        assert_eq!(
            of(Twist::UnknownWords, before.clone()),
            json!({"id": 7, "name": "docs", "status": "something_new", "owner": {"id": "a"}})
        );
        assert_eq!(
            of(Twist::NullIds, before.clone()),
            json!({"id": null, "name": "docs", "status": "ok", "owner": {"id": null}})
        );
        assert_eq!(of(Twist::LongList, before.clone()), before);
    }

    #[test]
    fn a_longer_list_ends_with_what_it_was() {
        for (list, at) in [
            (json!([{"id": 7}]), ""),
            (json!({"values": [{"id": 7}]}), "/values"),
        ] {
            let longer = of(Twist::LongList, list);
            let longer = longer
                .pointer(at)
                .and_then(Value::as_array)
                .expect("a list");
            assert_eq!(longer.len(), 1001);
            assert_eq!(longer.last(), Some(&json!({"id": 7})));
        }
    }

    #[test]
    fn an_empty_list_keeps_what_is_around_it() {
        let list = json!({"size": 1, "values": [{"id": 7}]});
        assert_eq!(of(Twist::EmptyList, list), json!({"size": 1, "values": []}));
        assert_eq!(of(Twist::EmptyList, json!({"id": 7})), json!({"id": 7}));
    }
}
