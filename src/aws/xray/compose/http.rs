//! The `http` and `sql` blocks.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::json::{Fields, Json, Put};
use super::source::Source;
use crate::aws::xray::sql;
use crate::aws::xray::urls::{self, Url};

/// The status of the response, whichever generation of attributes tells it.
pub(super) fn status(source: &Source) -> Option<i64> {
    source.first_int(&["http.response.status_code", "http.status_code"])
}

/// `http`.
pub(super) fn http(source: &Source) -> Fields {
    let mut request = Fields::new();
    let method = source.first_text(&["http.request.method", "http.method"]);
    let status = status(source);
    request.put_text("method", method);
    request.put_text("url", url(source, method.is_some() || status.is_some()).as_deref());
    request.put_text(
        "user_agent",
        source.first_text(&["user_agent.original", "http.user_agent"]),
    );
    client(source, &mut request);
    request.put("traced", source.flag("aws.xray.traced").map(Json::Flag));

    let mut response = Fields::new();
    let raw_status = source.text("aws.xray.http.response.status").map(Json::text);
    response.put("status", status.map(Json::Int).or(raw_status));
    let raw_length = source.text("aws.xray.http.response.content_length").map(Json::text);
    let length = length(source).map(Json::Int).or(raw_length);
    // The Collector writes a length for every call that has an `http` block.
    let is_told = !request.is_empty() || !response.is_empty();
    let collectors = (source.options.collector() && is_told).then_some(Json::Int(0));
    response.put("content_length", length.or(collectors));

    let mut http = Fields::new();
    http.put_map("request", request);
    http.put_map("response", response);
    http
}

fn length(source: &Source) -> Option<i64> {
    let told = source.first_int(&["http.response.body.size", "http.response_content_length"]);
    if told.is_some() || source.was_segment {
        return told;
    }
    let mut received = source.span.events.iter().filter_map(|event| {
        let get = |key: &str| {
            let found = event.attributes.iter().find(|attribute| attribute.key == key)?;
            found.value.as_ref()?.value.as_ref()
        };
        let is_received = get("message.type").and_then(super::source::as_text) == Some("RECEIVED");
        let size = get("messaging.message_payload_size_bytes").or(get("message.uncompressed_size"));
        match size {
            Some(opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue(size)) if is_received => {
                Some(*size)
            }
            _ => None,
        }
    });
    received.next_back()
}

fn client(source: &Source, request: &mut Fields) {
    let told = source.first_text(&["client.address", "http.client_ip"]);
    let peer = source.first_text(&["network.peer.address", "net.sock.peer.addr", "net.peer.ip"]);
    let is_http = source.kind == SpanKind::Server;
    let is_address = |text: &&str| source.was_segment || text.parse::<std::net::IpAddr>().is_ok();
    let shown = told.filter(is_address).or(peer.filter(|_| is_http));
    request.put_text("client_ip", shown);
    let forwarded = source.flag("aws.xray.x_forwarded_for");
    // The address of the one who asked, not of the one who connected.
    let derived = !source.was_segment && shown.is_some() && peer.is_none();
    request.put("x_forwarded_for", forwarded.or(derived.then_some(true)).map(Json::Flag));
}

fn url(source: &Source, is_http: bool) -> Option<String> {
    let whole = source.first_text(&["aws.xray.http.url", "url.full", "http.url"]);
    let scheme = source.first_text(&["url.scheme", "http.scheme"]);
    let target = source.text("http.target");
    let (path, query) = match target {
        Some(target) => urls::path_and_query(target),
        None => (source.text("url.path").unwrap_or_default(), source.text("url.query")),
    };
    let server = matches!(source.kind, SpanKind::Server | SpanKind::Consumer);
    let host_keys: &[&str] = if server {
        &["http.host", "http.server_name", "net.host.name"]
    } else {
        &["http.host", "server.address", "net.peer.name", "net.peer.ip"]
    };
    let host = source.first_text(host_keys);
    let host = host.or_else(|| {
        source
            .resource_text("host.name")
            .filter(|_| server && !source.was_segment)
    });
    let host = if server {
        source.text("server.address").or(host)
    } else {
        host
    };
    let port = source.first_int(&["server.port", "net.host.port", "net.peer.port"]);
    if let Some(whole) = whole {
        return Some(whole.to_owned());
    }
    if !is_http && target.is_none() && scheme.is_none() {
        return None;
    }
    if source.was_segment && (!server || scheme.is_none()) {
        return None;
    }
    let host = host?;
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, own_port) = if is_v6 { (host, None) } else { urls::split_port(host)? };
    let url = Url {
        scheme: scheme.unwrap_or("http"),
        host,
        port: own_port.or(port.and_then(|port| u16::try_from(port).ok())),
        path,
        query,
    };
    Some(url.write())
}

/// `sql`, for databases that speak it.
pub(super) fn sql(source: &Source) -> Fields {
    let system = source.first_text(&["db.system.name", "db.system"]);
    let query = source.first_text(&["db.query.text", "db.statement"]);
    let namespace = source.first_text(&["db.namespace", "db.name"]);
    let user = source.text("db.user");
    let own = |key: &str| source.text(&format!("aws.xray.sql.{key}"));
    let speaks = system.is_some_and(sql::speaks_sql);
    let mut block = Fields::new();
    let is_dynamodb = matches!(system, Some("aws.dynamodb" | "dynamodb"));
    if !speaks && !source.was_segment {
        return block;
    }
    let system = system.filter(|_| !is_dynamodb);
    let connection = source.text("db.connection_string");
    if source.options.collector() {
        let base = connection.unwrap_or("localhost");
        block.put(
            "connection_string",
            Some(Json::text(format!("{base}/{}", namespace.unwrap_or_default()))),
        );
        block.put_text("url", Some(&source.span.name));
    } else {
        let host = source.first_text(&["server.address", "net.peer.name"]);
        let port = source
            .first_int(&["server.port", "net.peer.port"])
            .and_then(|port| u16::try_from(port).ok());
        let of_connection = connection.and_then(urls::database).map(|url| (url.host, url.port));
        let place = host.map(|host| (host, port)).or(of_connection);
        let derived = || sql::url(system, place, namespace).filter(|_| system.is_some());
        let kept = own("url");
        let url = kept.map(str::to_owned).or_else(derived).filter(|url| !url.is_empty());
        block.put("url", url.map(Json::Text));
        let connection = own("connection_string").or(connection.filter(|_| !source.was_segment));
        block.put_text("connection_string", connection);
    }
    block.put_text("sanitized_query", query);
    let kind = own("database_type").or(system).filter(|kind| !kind.is_empty());
    block.put_text("database_type", kind);
    for key in ["database_version", "driver_version", "preparation"] {
        block.put_text(key, own(key));
    }
    block.put_text("user", own("user").or(user));
    block
}
