//! URLs as segments have them: taken apart, put together, and without what nobody should see.
//!
//! Nothing is normalised: what is put together again must equal what was taken apart, or the caller keeps the original.

use std::borrow::Cow;

/// Query keys whose values are credentials (the list of the HTTP conventions, and AWS's own).
const SECRET_KEYS: [&str; 8] = [
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-goog-signature",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "access_token",
];

const REDACTED: &str = "REDACTED";

/// A URL with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    /// IPv6 without brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    /// With its slash; empty where there is none.
    pub(super) path: &'a str,
    /// Without its question mark.
    pub(super) query: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// Takes a URL apart; `None` where it has no scheme or no host.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
        let (host, port) = split_port(authority)?;
        let (path, query) = path_and_query(rest);
        Some(Self {
            scheme,
            host,
            port,
            path,
            query,
        })
    }

    /// Puts it together. The scheme's own port is left out.
    pub(super) fn write(&self) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.host.contains(':') {
            text.push('[');
            text.push_str(self.host);
            text.push(']');
        } else {
            text.push_str(self.host);
        }
        if let Some(port) = self.port
            && Some(port) != default_port(self.scheme)
        {
            text.push(':');
            text.push_str(&port.to_string());
        }
        text.push_str(self.path);
        if let Some(query) = self.query {
            text.push('?');
            text.push_str(query);
        }
        text
    }
}

/// A path (and more) taken apart; a fragment is left out.
pub(super) fn path_and_query(text: &str) -> (&str, Option<&str>) {
    let text = text.split('#').next().unwrap_or_default();
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `host`, `host:port`, `[v6]:port`.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        return match behind.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => behind.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    (!host.is_empty()).then_some((host, port))
}

/// The same text without user, password and the values of secret query keys.
pub(super) fn redacted(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return redacted_query(text);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user, _)) = rest[..end].rsplit_once('@') else {
        return redacted_query(text);
    };
    let hidden = if user.contains(':') {
        "REDACTED:REDACTED"
    } else {
        REDACTED
    };
    let text = format!("{scheme}://{hidden}{}", &rest[user.len()..]);
    Cow::Owned(redacted_query(&text).into_owned())
}

fn redacted_query(text: &str) -> Cow<'_, str> {
    let Some((before, query)) = text.split_once('?') else {
        return Cow::Borrowed(text);
    };
    let is_secret = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        !value.is_empty() && SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
    };
    if !query.split(['&', '#']).any(is_secret) {
        return Cow::Borrowed(text);
    }
    let (query, fragment) = query.split_at(query.find('#').unwrap_or(query.len()));
    let mut shown = format!("{before}?");
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            shown.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_secret(pair) => {
                shown.push_str(key);
                shown.push('=');
                shown.push_str(REDACTED);
            }
            _ => shown.push_str(pair),
        }
    }
    shown.push_str(fragment);
    Cow::Owned(shown)
}

/// A database's URL or JDBC URL: system, then the rest as of a URL. Properties behind `;` (SQL Server) are left out.
pub(super) fn database(text: &str) -> Option<Url<'_>> {
    let text = text.strip_prefix("jdbc:").unwrap_or(text);
    // `oracle:thin:@//host:1521/service`
    let text = text.split(';').next().unwrap_or_default();
    if let Some(rest) = text.strip_prefix("oracle:thin:@") {
        let rest = rest.trim_start_matches('/');
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, port) = split_port(&rest[..end])?;
        return Some(Url {
            scheme: "oracle",
            host,
            port,
            path: &rest[end..],
            query: None,
        });
    }
    Url::parse(text)
}

/// A connection string without its passwords: those of a URL, and of `password=...;` pairs.
pub(super) fn without_password(text: &str) -> Cow<'_, str> {
    let shown = redacted(text);
    let is_password = |part: &str| {
        let key = part.split('=').next().unwrap_or_default().trim();
        let key = key.rsplit(['?', '&', ' ']).next().unwrap_or_default();
        part.contains('=') && (key.eq_ignore_ascii_case("password") || key.eq_ignore_ascii_case("pwd"))
    };
    if !shown.split([';', '&']).any(is_password) {
        return shown;
    }
    let mut hidden = String::with_capacity(shown.len());
    for part in shown.split_inclusive([';', '&']) {
        let separator = &part[part.trim_end_matches([';', '&']).len()..];
        match part.split_once('=') {
            Some((key, _)) if is_password(part.trim_end_matches([';', '&'])) => {
                hidden.push_str(key);
                hidden.push('=');
                hidden.push_str(REDACTED);
                hidden.push_str(separator);
            }
            _ => hidden.push_str(part),
        }
    }
    Cow::Owned(hidden)
}

/// Whether a text looks like a host's name with a domain, or an address.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text == "localhost" || (text.contains('.') && text.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_put_together_as_it_was() {
        for text in [
            "https://api.example.com/users?id=1",
            "http://api.example.com",
            "http://[::1]:8080/x",
            "postgresql://db.example.com:5432/orders",
            "http://h/?",
        ] {
            assert_eq!(Url::parse(text).unwrap().write(), text);
        }
        assert_eq!(Url::parse("https://h:443/x").unwrap().write(), "https://h/x");
        for text in ["", "/path", "http://", "http://h:x/", "a b://h", "http://[::1/"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn users_and_secrets_are_not_shown() {
        assert_eq!(redacted("https://me:pw@h/x?a=1"), "https://REDACTED:REDACTED@h/x?a=1");
        assert_eq!(redacted("https://me@h/x"), "https://REDACTED@h/x");
        assert_eq!(
            redacted("https://h/x?a=1&X-Amz-Signature=abc&b=2#f"),
            "https://h/x?a=1&X-Amz-Signature=REDACTED&b=2#f"
        );
        assert_eq!(redacted("/x?sig=abc"), "/x?sig=REDACTED");
        assert!(matches!(redacted("https://h/x?signed=1"), Cow::Borrowed(_)));
        assert_eq!(
            without_password("Server=h;Password=x;Pwd = y;Db=d"),
            "Server=h;Password=REDACTED;Pwd =REDACTED;Db=d"
        );
        assert_eq!(
            without_password("postgres://me:pw@h/d"),
            "postgres://REDACTED:REDACTED@h/d"
        );
        assert_eq!(
            without_password("mysql://h/d?user=a&password=b"),
            "mysql://h/d?user=a&password=REDACTED"
        );
    }

    #[test]
    fn jdbc_urls_name_their_database() {
        let url = database("jdbc:oracle:thin:@//db:1521/orders").unwrap();
        assert_eq!(
            (url.scheme, url.host, url.port, url.path),
            ("oracle", "db", Some(1521), "/orders")
        );
        let url = database("jdbc:sqlserver://db:1433;databaseName=x").unwrap();
        assert_eq!((url.scheme, url.host, url.port), ("sqlserver", "db", Some(1433)));
    }
}
