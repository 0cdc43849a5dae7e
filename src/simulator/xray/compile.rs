//! From documents as they arrived to those that BatchGetTraces gives: in-progress ones replaced, independent
//! subsegments embedded, inferred segments added.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::store::{Trace, flag, number, text};

/// The segments of a trace: id and document.
pub fn compile(trace: &Trace) -> Vec<(String, Json)> {
    let mut documents: Vec<Json> = Vec::new();
    for arrival in &trace.arrivals {
        let id = text(&arrival.document, "id");
        let same = documents.iter_mut().find(|document| text(document, "id") == id);
        match same {
            Some(known) => {
                // A complete document stands whatever comes after it.
                if flag(known, "in_progress") {
                    *known = arrival.document.clone();
                }
            }
            None => documents.push(arrival.document.clone()),
        }
    }
    embed(&mut documents);
    let mut inferred = Vec::new();
    for document in &documents {
        infer(document, text(document, "trace_id"), &mut inferred);
    }
    documents.extend(inferred);
    let with_id = |document: Json| (text(&document, "id").to_owned(), document);
    documents.into_iter().map(with_id).collect()
}

fn embed(documents: &mut Vec<Json>) {
    let mut position = 0;
    while position < documents.len() {
        if text(&documents[position], "type") != "subsegment" {
            position += 1;
            continue;
        }
        let part = documents.remove(position);
        let parent = text(&part, "parent_id").to_owned();
        let mut held = Some(part);
        for document in documents.iter_mut() {
            place(document, &parent, &mut held);
        }
        if let Some(part) = held {
            documents.insert(position, part);
            position += 1;
        } else {
            // What was embedded may be the parent of one that was passed over.
            position = 0;
        }
    }
}

fn place(node: &mut Json, parent: &str, held: &mut Option<Json>) {
    if held.is_none() {
        return;
    }
    let found = text(node, "id") == parent;
    let Json::Object(fields) = node else { return };
    if found {
        let parts = fields.entry("subsegments").or_insert_with(|| json!([]));
        if let (Json::Array(parts), Some(mut part)) = (parts, held.take()) {
            if let Json::Object(fields) = &mut part {
                for key in ["type", "parent_id", "trace_id"] {
                    fields.remove(key);
                }
            }
            parts.push(part);
        }
        return;
    }
    if let Some(Json::Array(parts)) = fields.get_mut("subsegments") {
        for part in parts {
            place(part, parent, held);
        }
    }
}

/// A segment for the far side of every call of an AWS service.
fn infer(node: &Json, trace: &str, into: &mut Vec<Json>) {
    let complete = node.get("end_time").is_some();
    if text(node, "namespace") == "aws" && complete {
        let id = text(node, "id");
        let hash = Sha256::digest(format!("inferred {id}"));
        let name = text(node, "name");
        let mut segment = json!({
            "id": hex::encode(&hash[..8]), "trace_id": trace, "parent_id": id, "name": name, "inferred": true,
            "start_time": number(node, "start_time"), "end_time": number(node, "end_time"),
            "origin": match name {
                "DynamoDB" => "AWS::DynamoDB::Table",
                "SageMaker Runtime" => "AWS::SageMaker::Endpoint",
                _ => "AWS::Service",
            },
        });
        for key in ["aws", "http", "error", "fault", "throttle"] {
            if let (Some(value), Json::Object(fields)) = (node.get(key), &mut segment) {
                fields.insert(key.to_owned(), value.clone());
            }
        }
        into.push(segment);
    }
    for part in node.get("subsegments").and_then(Json::as_array).into_iter().flatten() {
        infer(part, trace, into);
    }
}

/// Calls `visit` for every node of a document, parents first.
pub fn walk<'a>(document: &'a Json, visit: &mut dyn FnMut(&'a Json)) {
    let mut open = vec![document];
    while let Some(node) = open.pop() {
        visit(node);
        let parts = node.get("subsegments").and_then(Json::as_array);
        open.extend(parts.into_iter().flatten().rev());
    }
}
