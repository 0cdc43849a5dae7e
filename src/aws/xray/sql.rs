//! Names of databases in both worlds.

use std::borrow::Cow;

use super::urls::Url;

/// X-Ray's spelling and the conventions'.
const SYSTEMS: [(&str, &str); 10] = [
    ("postgresql", "postgresql"),
    ("mysql", "mysql"),
    ("mariadb", "mariadb"),
    ("mssql", "microsoft.sql_server"),
    ("ms sql", "microsoft.sql_server"),
    ("microsoft sql server", "microsoft.sql_server"),
    ("sqlserver", "microsoft.sql_server"),
    ("oracle", "oracle.db"),
    ("db2", "ibm.db2"),
    ("redshift", "aws.redshift"),
];

/// `db.system.name` of what a segment calls its database.
pub(super) fn system_name(kind: &str) -> Cow<'static, str> {
    let found = SYSTEMS.iter().find(|(xray, _)| kind.eq_ignore_ascii_case(xray));
    match found {
        Some((_, name)) => Cow::Borrowed(*name),
        None => Cow::Owned(kind.to_lowercase()),
    }
}

/// `sql.url` as it is made from attributes; `None` without a host.
pub(super) fn url(system: Option<&str>, host: Option<(&str, Option<u16>)>, namespace: Option<&str>) -> Option<String> {
    let (host, port) = host?;
    let path = namespace.map(|name| format!("/{name}")).unwrap_or_default();
    let url = Url {
        scheme: system.unwrap_or("sql"),
        host,
        port,
        path: &path,
        query: None,
    };
    Some(url.write())
}
/// Systems of both generations whose calls are SQL: only these make a `sql` block.
const SQL_SYSTEMS: [&str; 15] = [
    "db2",
    "derby",
    "hive",
    "mariadb",
    "mssql",
    "mysql",
    "oracle",
    "postgresql",
    "sqlite",
    "teradata",
    "other_sql",
    "microsoft.sql_server",
    "oracle.db",
    "ibm.db2",
    "aws.redshift",
];

/// Whether a system speaks SQL.
pub(super) fn speaks_sql(system: &str) -> bool {
    SQL_SYSTEMS.iter().any(|name| system.eq_ignore_ascii_case(name))
}
