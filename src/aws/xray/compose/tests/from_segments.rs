//! Segment to OTLP to segment: equal for every field of the schema.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value as J;

use super::*;
use crate::aws::xray::document::{Arena, Kind, NodeId, Tree};
use crate::aws::xray::time::nanos_of;

/// Writes one generated document.
struct Generator {
    random: Random,
    next_id: u64,
    ids: Vec<u64>,
}

fn quoted(text: &str) -> String {
    J::from(text).to_string()
}

impl Generator {
    /// `"key":value` some of the time.
    fn maybe(&mut self, fields: &mut Vec<String>, key: &str, value: impl FnOnce(&mut Self) -> String) {
        if self.random.one_in(3) {
            let value = value(self);
            fields.push(format!("{}:{value}", quoted(key)));
        }
    }

    fn maybe_texts(&mut self, fields: &mut Vec<String>, keys: &[&str]) {
        for key in keys {
            self.maybe(fields, key, |g| quoted(&g.random.text()));
        }
    }

    fn object(&mut self, fill: impl FnOnce(&mut Self, &mut Vec<String>)) -> String {
        let mut fields = Vec::new();
        fill(self, &mut fields);
        format!("{{{}}}", fields.join(","))
    }

    fn list(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> String) -> String {
        let count = 1 + self.random.below(most);
        let items: Vec<String> = (0..count).map(|_| item(self)).collect();
        format!("[{}]", items.join(","))
    }

    fn flag(&mut self) -> String {
        if self.random.one_in(2) { "true" } else { "false" }.to_owned()
    }

    fn number(&mut self) -> String {
        match self.random.below(5) {
            0 => self.random.below(1000).to_string(),
            1 => format!("-{}", self.random.next() >> 2),
            2 => format!("{}.{}", self.random.below(1000), self.random.below(1000)),
            3 => format!("{}e{}", 1 + self.random.below(9), self.random.below(20)),
            _ => format!("{}00000000000000000000", 1 + self.random.below(99999)),
        }
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        self.ids.push(self.next_id);
        format!("{:016x}", self.next_id)
    }

    fn any(&mut self, depth: u32) -> String {
        match self.random.below(if depth > 2 { 5 } else { 7 }) {
            0 => quoted(&self.random.text()),
            1 => self.number(),
            2 => self.flag(),
            3 => "[1,\"a\"]".to_owned(),
            4 => "null".to_owned(),
            5 => self.list(3, |g| g.any(depth + 1)),
            _ => self.object(|g, fields| {
                for _ in 0..g.random.below(3) {
                    let key = g.random.text();
                    let value = g.any(depth + 1);
                    if !fields.iter().any(|field: &String| field.starts_with(&quoted(&key))) {
                        fields.push(format!("{}:{value}", quoted(&key)));
                    }
                }
            }),
        }
    }

    fn url(&mut self) -> String {
        let scheme = self.random.pick(&["http", "https"]);
        let host = self
            .random
            .pick(&["shop.example.com", "10.0.0.1", "[::1]", "localhost"]);
        let rest = self.random.pick(&[
            "",
            "/",
            "/a/b?c=d&e=%20",
            ":8080/x",
            ":443/y",
            "/a#part",
            "?q",
            ":80/z?",
        ]);
        let odd = self.random.pick(&["/only/path?x=1", "not a url", "", "//host/x"]);
        quoted(&if self.random.one_in(5) {
            odd.to_owned()
        } else {
            format!("{scheme}://{host}{rest}")
        })
    }

    fn http(&mut self) -> String {
        self.object(|g, fields| {
            g.maybe(fields, "request", |g| {
                g.object(|g, fields| {
                    g.maybe(fields, "method", |g| quoted(g.random.pick(&["GET", "POST"])));
                    g.maybe(fields, "url", Self::url);
                    g.maybe_texts(fields, &["user_agent", "client_ip"]);
                    g.maybe(fields, "x_forwarded_for", Self::flag);
                    g.maybe(fields, "traced", Self::flag);
                })
            });
            g.maybe(fields, "response", |g| {
                g.object(|g, fields| {
                    g.maybe(fields, "status", |g| {
                        g.random.pick(&["200", "404", "429", "503", "\"301\""]).to_owned()
                    });
                    g.maybe(fields, "content_length", |g| g.random.below(9999).to_string());
                })
            });
        })
    }

    fn aws(&mut self, is_segment: bool) -> String {
        self.object(|g, fields| {
            let texts = [
                "account_id",
                "operation",
                "region",
                "request_id",
                "id_2",
                "queue_url",
                "bucket_name",
                "key",
                "function_name",
                "function_arn",
                "endpoint_name",
                "topic_arn",
                "table_name",
            ];
            g.maybe_texts(fields, &texts);
            g.maybe(fields, "retries", |g| g.random.below(9).to_string());
            g.maybe(fields, "table_names", |g| g.list(2, |g| quoted(&g.random.word())));
            g.maybe(fields, "resource_names", |g| g.list(2, |g| quoted(&g.random.word())));
            g.maybe(fields, "consumed_capacity", |g| g.any(1));
            g.maybe(fields, "api_gateway", |g| {
                g.object(|g, fields| g.maybe_texts(fields, &["stage", "rest_api_id", "a.b"]))
            });
            for (name, keys) in [
                (
                    "ecs",
                    &[
                        "container",
                        "container_id",
                        "task_arn",
                        "task_family",
                        "cluster_arn",
                        "container_arn",
                        "availability_zone",
                        "launch_type",
                    ][..],
                ),
                ("ec2", &["instance_id", "availability_zone", "instance_size", "ami_id"]),
                ("eks", &["cluster_name", "pod", "container_id"]),
            ] {
                if g.random.one_in(2) {
                    g.maybe(fields, name, |g| g.object(|g, fields| g.maybe_texts(fields, keys)));
                }
            }
            g.maybe(fields, "elastic_beanstalk", |g| {
                g.object(|g, fields| {
                    g.maybe_texts(fields, &["environment_name", "version_label"]);
                    g.maybe(fields, "deployment_id", |g| g.random.below(99).to_string());
                })
            });
            g.maybe(fields, "cloudwatch_logs", |g| {
                g.list(2, |g| {
                    g.object(|g, fields| g.maybe_texts(fields, &["log_group", "arn"]))
                })
            });
            if is_segment {
                g.maybe(fields, "xray", |g| {
                    g.object(|g, fields| {
                        g.maybe(fields, "sdk", |g| {
                            quoted(g.random.pick(&["X-Ray for Python", "opentelemetry for go", "x"]))
                        });
                        g.maybe_texts(fields, &["sdk_version", "package"]);
                        let rule = g.random.pick(&["rule_name", "sampling_rule_name"]);
                        g.maybe_texts(fields, &[rule]);
                        g.maybe(fields, "auto_instrumentation", Self::flag);
                    })
                });
            }
        })
    }

    fn exception(&mut self) -> String {
        let id = self.id();
        self.object(|g, fields| {
            fields.push(format!("\"id\":{}", quoted(&id)));
            g.maybe_texts(fields, &["message", "type"]);
            g.maybe(fields, "remote", Self::flag);
            g.maybe(fields, "truncated", |g| g.random.below(9).to_string());
            g.maybe(fields, "skipped", |g| g.random.below(9).to_string());
            g.maybe(fields, "cause", |g| quoted(&format!("{:016x}", g.random.next() | 1)));
            g.maybe(fields, "stack", |g| {
                g.list(3, |g| {
                    g.object(|g, fields| {
                        g.maybe_texts(fields, &["path", "label"]);
                        g.maybe(fields, "line", |g| g.random.below(999).to_string());
                    })
                })
            });
        })
    }

    fn cause(&mut self) -> String {
        if self.random.one_in(4) {
            return quoted(&format!("{:016x}", self.ids[self.random.below(self.ids.len())]));
        }
        self.object(|g, fields| {
            g.maybe_texts(fields, &["working_directory"]);
            g.maybe(fields, "paths", |g| g.list(2, |g| quoted(&g.random.word())));
            g.maybe(fields, "exceptions", |g| g.list(3, Self::exception));
        })
    }

    fn sql(&mut self) -> String {
        self.object(|g, fields| {
            g.maybe(fields, "url", |g| {
                quoted(g.random.pick(&[
                    "jdbc:postgresql://db.example.com:5432/orders",
                    "postgresql://db.example.com:5432/orders",
                    "mysql://db/x?a=b",
                    "mydb",
                    "jdbc:oracle:thin:@//h:1521/s",
                ]))
            });
            g.maybe(fields, "connection_string", |g| {
                quoted(g.random.pick(&["Server=h;Db=d", "mysql://h:3306/x", "local"]))
            });
            g.maybe(fields, "database_type", |g| {
                quoted(g.random.pick(&["PostgreSQL", "mysql", "DB2", "Cockroach"]))
            });
            g.maybe_texts(
                fields,
                &[
                    "sanitized_query",
                    "database_version",
                    "driver_version",
                    "user",
                    "preparation",
                ],
            );
        })
    }

    fn annotations(&mut self) -> String {
        self.object(|g, fields| {
            let mut keys: Vec<String> = (0..3).map(|_| g.random.word()).collect();
            keys.extend(
                [
                    "url.full",
                    "aws:x",
                    "peer.service",
                    "http.request.method",
                    "db.namespace",
                ]
                .map(str::to_owned),
            );
            keys.sort();
            keys.dedup();
            for key in keys {
                g.maybe(fields, &key, |g| match g.random.below(3) {
                    0 => quoted(&g.random.text()),
                    1 => g.number(),
                    _ => g.flag(),
                });
            }
        })
    }

    fn time(&mut self) -> u64 {
        1_478_293_361_000_000_000 + self.random.next() % 100_000_000_000
    }

    fn node(&mut self, depth: u32) -> String {
        let is_segment = depth == 0;
        let id = self.id();
        let (start, length) = (self.time(), self.random.next() % 10_000_000_000);
        self.object(|g, fields| {
            let name = g
                .random
                .pick(&["shop", "DynamoDB", "SQS", "pay.example.com", "orders@db", "## handler"]);
            fields.push(format!("\"name\":{},\"id\":\"{id}\"", quoted(name)));
            let mut times = String::new();
            write_seconds(start, &mut times);
            times.push_str(",\"end_time\":");
            write_seconds(start + length, &mut times);
            fields.push(format!("\"start_time\":{times}"));
            g.maybe(fields, "namespace", |g| {
                quoted(g.random.pick(&["aws", "remote", "local"]))
            });
            if is_segment {
                fields.push("\"trace_id\":\"1-581CF771-a006649127e371903a2de979\"".to_owned());
                g.maybe(fields, "parent_id", |_| "\"ffffffffffffffff\"".to_owned());
                g.maybe(fields, "type", |_| "\"subsegment\"".to_owned());
                let is_alone = fields.iter().any(|field| field.starts_with("\"type\""));
                if !is_alone {
                    g.maybe(fields, "service", |g| {
                        g.object(|g, fields| {
                            g.maybe_texts(
                                fields,
                                &["version", "runtime", "runtime_version", "compiler", "compiler_version"],
                            )
                        })
                    });
                    g.maybe(fields, "origin", |g| {
                        quoted(g.random.pick(&["AWS::EC2::Instance", "AWS::Lambda::Function", "x"]))
                    });
                    g.maybe_texts(fields, &["user", "resource_arn"]);
                    g.maybe(fields, "links", |g| {
                        g.list(2, |g| {
                            g.object(|g, fields| {
                                fields.push("\"trace_id\":\"1-581cf771-a006649127e371903a2de97a\"".to_owned());
                                fields.push(format!("\"id\":\"{:016x}\"", g.random.next() | 1));
                                g.maybe(fields, "attributes", |g| {
                                    g.object(|g, fields| g.maybe_texts(fields, &["aws.xray.reserved.reference_type"]))
                                });
                            })
                        })
                    });
                }
                g.maybe(fields, "aws", |g| g.aws(!is_alone));
            } else {
                g.maybe(fields, "traced", Self::flag);
                g.maybe(fields, "precursor_ids", |g| {
                    g.list(2, |g| quoted(&format!("{:016x}", g.random.next() | 1)))
                });
                g.maybe(fields, "aws", |g| g.aws(false));
            }
            g.maybe(fields, "http", Self::http);
            g.maybe(fields, "sql", Self::sql);
            for flag in ["error", "fault", "throttle"] {
                g.maybe(fields, flag, Self::flag);
            }
            g.maybe(fields, "cause", Self::cause);
            g.maybe(fields, "annotations", Self::annotations);
            g.maybe(fields, "metadata", |g| {
                g.object(|g, fields| {
                    for name in ["default", "debug", "a.b"] {
                        g.maybe(fields, name, |g| g.any(0));
                    }
                })
            });
            if depth < 3 && g.random.one_in(2) {
                let children = g.list(3, |g| g.node(depth + 1));
                fields.push(format!("\"subsegments\":{children}"));
            }
        })
    }
}

/// What two documents are compared by: times in nanoseconds, numbers by value, nothing that is empty or a false flag.
fn canonical(tree: &Tree, id: NodeId, path: &str) -> Option<J> {
    const FLAGS: [&str; 8] = [
        "error",
        "fault",
        "throttle",
        "in_progress",
        "remote",
        "auto_instrumentation",
        "inferred",
        "x",
    ];
    let key = tree.key(id);
    let in_user_data = path.contains("/annotations") || path.contains("/metadata");
    Some(match tree.kind(id) {
        Kind::Null => return None,
        Kind::False if !in_user_data && FLAGS.contains(&key) => return None,
        Kind::True => true.into(),
        Kind::False => false.into(),
        Kind::Number => {
            let number = tree.number(id).unwrap();
            match key {
                "start_time" | "end_time" if !in_user_data => nanos_of(number).unwrap().to_string().into(),
                _ => match number.parse::<i64>() {
                    Ok(int) => int.to_string().into(),
                    Err(_) => format!("{:?}", number.parse::<f64>().unwrap()).into(),
                },
            }
        }
        Kind::Text => {
            let text = tree.text(id).unwrap();
            match key {
                "status" if !in_user_data => text.to_owned().into(),
                "id" | "trace_id" | "parent_id" if !in_user_data => text.to_lowercase().into(),
                _ => format!("text {text}").into(),
            }
        }
        Kind::List => {
            let items: Vec<J> = tree
                .children(id)
                .map(|child| canonical(tree, child, &format!("{path}/{key}")).unwrap_or(J::Null))
                .collect();
            if items.is_empty() && !in_user_data {
                return None;
            }
            items.into()
        }
        Kind::Map => {
            let mut map = serde_json::Map::new();
            for child in tree.children(id) {
                if tree.key(child) == "subsegments" && !in_user_data {
                    continue;
                }
                if let Some(value) = canonical(tree, child, &format!("{path}/{key}")) {
                    map.insert(tree.key(child).to_owned(), value);
                }
            }
            if map.is_empty() && !path.is_empty() {
                return None;
            }
            map.into()
        }
    })
}

/// Every node of a document by its id, as if it had been sent alone.
fn flattened(document: &str) -> BTreeMap<String, J> {
    let mut arena = Arena::default();
    let tree = Tree::read(document, &mut arena).unwrap();
    let mut found = BTreeMap::new();
    let mut open: Vec<(NodeId, Option<(String, String)>)> = vec![(tree.root(), None)];
    while let Some((id, around)) = open.pop() {
        let mut node = canonical(&tree, id, "").unwrap();
        if let Some((parent, trace)) = &around {
            node["parent_id"] = parent.clone().into();
            node["trace_id"] = trace.clone().into();
            node["type"] = "text subsegment".into();
        }
        let own = node["id"].as_str().unwrap().to_owned();
        let trace = node["trace_id"].as_str().unwrap().to_owned();
        if let Some(list) = tree.get(id, "subsegments") {
            open.extend(
                tree.children(list)
                    .map(|child| (child, Some((own.clone(), trace.clone())))),
            );
        }
        found.insert(own, node);
    }
    found
}

fn round_trip(document: &str) {
    let composed = documents(&read(document), &Options::default());
    assert!(composed.dropped.is_empty(), "{:?}", composed.dropped);
    let mut back = BTreeMap::new();
    for composed in &composed.documents {
        back.extend(flattened(&composed.document));
    }
    let wanted = flattened(document);
    for (id, node) in &wanted {
        let got = &back[id];
        for (key, value) in node.as_object().unwrap() {
            assert_eq!(got.get(key), Some(value), "{key} of {id}\n{document}\n{got:#}");
        }
        for (key, value) in got.as_object().unwrap() {
            assert!(
                node.get(key).is_some(),
                "{key}={value} of {id} came from nowhere\n{document}"
            );
        }
    }
    assert_eq!(back.len(), wanted.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_field_of_the_schema_comes_back(seed in 1u64..) {
        let mut generator = Generator { random: Random(seed), next_id: 0, ids: Vec::new() };
        let document = generator.node(0);
        round_trip(&document);
    }
}

#[test]
fn the_corpus_comes_back() {
    for document in [
        r#"{"name":"a","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1478293361.271,"in_progress":true}"#,
        r#"{"name":"a","id":"70de5b6f19ff9a0a","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1,"end_time":1.000000001,"annotations":{"big":123456789012345678901234567890}}"#,
    ] {
        round_trip(document);
    }
}
