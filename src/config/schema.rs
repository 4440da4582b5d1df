//! The settings as a JSON Schema, so that editors complete and check `countersign.toml`.

use serde_json::{Map, Value, json};

use super::settings::{SETTINGS, Setting, Unset};

/// The schema (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        let described = of_setting(setting);
        match setting.place() {
            (None, name) => {
                properties.insert(name.to_owned(), described);
            }
            (Some(section), name) => {
                let section = properties
                    .entry(section)
                    .or_insert_with(|| json!({ "type": "object", "additionalProperties": false, "properties": {} }));
                if let Some(of_section) = section.get_mut("properties").and_then(Value::as_object_mut) {
                    of_section.insert(name.to_owned(), described);
                }
            }
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "countersign.toml",
        "description": "The configuration of a Countersign server. What is set in the environment need not be here.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn of_setting(setting: &Setting) -> Value {
    let mut described = setting.kind.schema();
    if let Some(members) = described.as_object_mut() {
        let words = format!("{}. In the environment: {}", setting.plain_words(), setting.variable());
        members.insert("description".to_owned(), words.into());
        if let Unset::Is(literal) = setting.default {
            members.insert("default".to_owned(), as_json(literal).unwrap_or_default());
        }
        if let Some(example) = as_json(setting.example) {
            members.insert("examples".to_owned(), json!([example]));
        }
        if setting.secret {
            // Not to be shown (JSON Schema Validation §9.4).
            members.insert("writeOnly".to_owned(), true.into());
        }
    }
    described
}

/// A TOML literal as JSON.
fn as_json(literal: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {literal}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
