//! Attribute keys that OpenTelemetry's semantic conventions have renamed, and what they are called now
//! (<https://opentelemetry.io/docs/specs/semconv/>, the tables of deprecated attributes).

/// Old and new, sorted by the old.
const RENAMED: &[(&str, &str)] = &[
    ("android.state", "android.app.state"),
    ("code.column", "code.column.number"),
    ("code.filepath", "code.file.path"),
    ("code.function", "code.function.name"),
    ("code.lineno", "code.line.number"),
    ("code.namespace", "code.function.name"),
    ("container.labels", "container.label"),
    ("db.cassandra.table", "db.collection.name"),
    ("db.cosmosdb.container", "db.collection.name"),
    ("db.mongodb.collection", "db.collection.name"),
    ("db.name", "db.namespace"),
    ("db.operation", "db.operation.name"),
    ("db.redis.database_index", "db.namespace"),
    ("db.sql.table", "db.collection.name"),
    ("db.statement", "db.query.text"),
    ("db.system", "db.system.name"),
    ("db.user", "(removed)"),
    ("deployment.environment", "deployment.environment.name"),
    ("enduser.role", "user.roles"),
    ("exception.escaped", "(removed)"),
    ("faas.execution", "faas.invocation_id"),
    ("faas.id", "cloud.resource_id"),
    ("gen_ai.completion", "gen_ai.output.messages"),
    ("gen_ai.prompt", "gen_ai.input.messages"),
    ("gen_ai.system", "gen_ai.provider.name"),
    ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ("http.client_ip", "client.address"),
    ("http.flavor", "network.protocol.version"),
    ("http.host", "server.address"),
    ("http.method", "http.request.method"),
    ("http.request_content_length", "http.request.body.size"),
    ("http.resend_count", "http.request.resend_count"),
    ("http.response_content_length", "http.response.body.size"),
    ("http.scheme", "url.scheme"),
    ("http.server_name", "server.address"),
    ("http.status_code", "http.response.status_code"),
    ("http.target", "url.path and url.query"),
    ("http.url", "url.full"),
    ("http.user_agent", "user_agent.original"),
    ("message.id", "rpc.message.id"),
    ("messaging.client_id", "messaging.client.id"),
    ("messaging.kafka.consumer.group", "messaging.consumer.group.name"),
    (
        "messaging.kafka.destination.partition",
        "messaging.destination.partition.id",
    ),
    ("messaging.operation", "messaging.operation.type"),
    ("net.host.ip", "network.local.address"),
    ("net.host.name", "server.address"),
    ("net.host.port", "server.port"),
    ("net.peer.ip", "network.peer.address"),
    ("net.peer.name", "server.address"),
    ("net.peer.port", "server.port"),
    ("net.protocol.name", "network.protocol.name"),
    ("net.protocol.version", "network.protocol.version"),
    ("net.sock.host.addr", "network.local.address"),
    ("net.sock.host.port", "network.local.port"),
    ("net.sock.peer.addr", "network.peer.address"),
    ("net.sock.peer.port", "network.peer.port"),
    ("net.transport", "network.transport"),
    ("otel.library.name", "otel.scope.name"),
    ("otel.library.version", "otel.scope.version"),
    ("peer.service", "service.peer.name"),
    ("pool.name", "db.client.connection.pool.name"),
    (
        "process.executable.build_id.profiling",
        "process.executable.build_id.htlhash",
    ),
    ("rpc.system", "rpc.system.name"),
    ("system.cpu.state", "cpu.mode"),
    ("telemetry.auto.version", "telemetry.distro.version"),
    ("thread.daemon", "(removed)"),
];

/// What a renamed key is called now.
pub fn instead_of(key: &str) -> Option<&'static str> {
    let at = RENAMED.binary_search_by_key(&key, |(old, _)| old).ok()?;
    RENAMED.get(at).map(|(_, new)| *new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_finds() {
        assert!(RENAMED.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(instead_of("http.method"), Some("http.request.method"));
        assert_eq!(instead_of("http.request.method"), None);
    }
}
