//! What editors and people start from: the JSON Schema of recipes, and a recipe with every key in it.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::keys::{KEYS, Key, SECTIONS, SIZES, Value};

/// The JSON Schema (2020-12) of recipes.
pub fn schema() -> Json {
    let mut top = Map::new();
    for key in KEYS.iter().filter(|k| k.section.is_empty()) {
        top.insert(key.name.into(), of(key));
    }
    for (section, about) in SECTIONS {
        let keys = KEYS.iter().filter(|k| k.section == section);
        let properties: Map<String, Json> = keys.map(|k| (k.name.into(), of(k))).collect();
        let mut table = json!({"type": "object", "description": about, "additionalProperties": false, "properties": properties});
        let sizes: Vec<&str> = SIZES.iter().filter_map(|s| s.strip_prefix(section)?.strip_prefix('.')).collect();
        if !sizes.is_empty() {
            let pairs = sizes.iter().enumerate().flat_map(|(i, a)| sizes[i + 1..].iter().map(move |b| json!({"required": [a, b]})));
            table["not"] = json!({"anyOf": pairs.collect::<Vec<_>>()});
        }
        top.insert(section.into(), table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lastmile recipe",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
    })
}

fn of(key: &Key) -> Json {
    let mut json = match &key.value {
        Value::Text(_) => json!({"type": "string"}),
        Value::Texts(_) => json!({"type": ["string", "array"], "items": {"type": "string"}}),
        Value::Flag(_) => json!({"type": ["string", "number"]}),
        Value::OneOf(words, _) => {
            let mut all: Vec<Json> = words.iter().map(|w| json!(w)).collect();
            all.extend(words.iter().filter_map(|w| w.parse::<i64>().ok()).map(Json::from));
            json!({"enum": all})
        }
        Value::Switch(_) => json!({"type": "boolean"}),
        Value::Number(least, most, _) => json!({"type": "number", "minimum": least, "maximum": most}),
        Value::Whole(least, most, _) => json!({"type": "integer", "minimum": least, "maximum": most}),
    };
    json["description"] = key.about.into();
    if let Ok(example) = toml::from_str::<toml::Table>(&format!("v = {}", key.example)) {
        json["examples"] = json!([example["v"]]);
    }
    json
}

/// A recipe that does what the program does anyway, with every key in it as a comment.
pub fn blank() -> String {
    let mut text = String::from("# A lastmile recipe. Lines that begin with # do nothing; take the # away to use them.\n");
    text += "#   lastmile recipe check FILE        what is wrong with it\n";
    text += "#   lastmile run FILE renders/ -o final/\n\n";
    write(&mut text, "");
    for (section, about) in SECTIONS {
        let _ = write!(text, "\n[{section}]\n# {about}\n\n");
        write(&mut text, section);
    }
    text
}

fn write(text: &mut String, section: &str) {
    for key in KEYS.iter().filter(|k| k.section == section) {
        let expects = match &key.value {
            Value::Text(_) | Value::Texts(_) | Value::Flag(_) => String::new(),
            _ => format!(" {}.", key.expects()),
        };
        let _ = writeln!(text, "# {}{}\n# {} = {}", key.about, capital(&expects), key.name, key.example);
    }
}

/// The same with its first letter as a capital.
fn capital(text: &str) -> String {
    match text.char_indices().find(|(_, c)| c.is_alphabetic()) {
        Some((at, c)) => format!("{}{}{}", &text[..at], c.to_uppercase(), &text[at + c.len_utf8()..]),
        None => text.into(),
    }
}
