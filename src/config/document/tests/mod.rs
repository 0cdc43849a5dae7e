//! What documents become: merging, expansion, and that nothing a stranger writes ends the process.

mod expansion;
mod merging;
mod robust;

use serde_json::Value;

use super::{Document, Environment, Inputs};
use crate::config::Problems;

/// The variables of the specification's table.
fn environment() -> impl Environment {
    |name: &str| {
        let value = match name {
            "X" => "val",
            "N" => "42",
            "Z" => "0123",
            "M" => "{k: v}",
            "E" => "",
            "Y" => "X",
            "BAD" => "[1, {",
            "QUOTED" => "\"q\"",
            "DOLLARS" => "a$$b",
            "CHAIN" => "${env:X}",
            "TYPED_CHAIN" => "${N}",
            "MAP_CHAIN" => "{a: \"${env:N}\", b: [\"${X}\"]}",
            "LOOP" => "${env:LOOP}",
            "WIDE" => "${env:LOOP2}${env:LOOP2}",
            "LOOP2" => "${env:WIDE}x",
            "CONTENT" => "a: {b: 1}",
            "S" => "set",
            _ => return None,
        };
        Some(value.to_string())
    }
}

fn load(uris: &[&str], sets: &[&str]) -> Result<Document, Problems> {
    let inputs = Inputs {
        uris: uris.iter().map(|uri| (*uri).to_string()).collect(),
        sets: sets.iter().map(|set| (*set).to_string()).collect(),
        ..Inputs::default()
    };
    Document::load(&inputs, &environment())
}

/// The whole document as untyped values.
fn value(document: &Document) -> Value {
    document.root().read::<Value>().unwrap_or_default()
}
