//! Attributes that look like secrets. What is found is named by its key; its value is shown nowhere.

/// Parts of keys whose values are secrets.
const KEYS: [&str; 14] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "private_key",
    "authorization",
    "cookie",
    "session_token",
    "auth_token",
    "access_token",
];

/// Values that say that there is none.
fn is_masked(value: &str) -> bool {
    let value = value.trim();
    value.is_empty()
        || value
            .bytes()
            .all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'?'))
        || value.eq_ignore_ascii_case("redacted")
        || value.eq_ignore_ascii_case("[redacted]")
        || value.eq_ignore_ascii_case("<redacted>")
        || value.eq_ignore_ascii_case("[filtered]")
        || value.eq_ignore_ascii_case("true")
        || value.eq_ignore_ascii_case("false")
}

/// Why an attribute looks like a secret.
pub fn suspicion(key: &str, value: &str) -> Option<&'static str> {
    if is_masked(value) {
        return None;
    }
    let lower = key.to_ascii_lowercase();
    if KEYS.iter().any(|part| lower.contains(part)) {
        return Some("its key names a secret");
    }
    by_value(value)
}

fn by_value(value: &str) -> Option<&'static str> {
    let long_tail = |prefix: &str, least: usize| {
        value.match_indices(prefix).any(|(at, _)| {
            let is_token = |character: &char| character.is_ascii_alphanumeric() || "_-".contains(*character);
            value[at + prefix.len()..].chars().take_while(is_token).count() >= least
        })
    };
    if long_tail("AKIA", 16) || long_tail("ASIA", 16) {
        Some("it holds an AWS access key id")
    } else if long_tail("ghp_", 30) || long_tail("gho_", 30) || long_tail("github_pat_", 30) {
        Some("it holds a GitHub token")
    } else if long_tail("xoxb-", 20) || long_tail("xoxp-", 20) {
        Some("it holds a Slack token")
    } else if long_tail("sk-", 32) || long_tail("sk_live_", 20) {
        Some("it holds an API key")
    } else if value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----") {
        Some("it holds a private key")
    } else if is_jwt(value) {
        Some("it holds a JSON web token")
    } else {
        has_password(value).then_some("it holds a URL with a password")
    }
}

fn is_jwt(value: &str) -> bool {
    let Some(at) = value.find("eyJ") else { return false };
    let parts: Vec<&str> = value[at..].split('.').take(3).collect();
    parts.len() == 3 && parts[0].len() > 10 && parts[1].starts_with("eyJ")
}

/// `scheme://user:password@host`
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else {
        return false;
    };
    user.split_once(':').is_some_and(|(_, password)| !is_masked(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_what_only_looks_like_one() {
        for (key, value) in [
            ("http.request.header.authorization", "Basic abc"),
            ("db.password", "hunter2"),
            ("note", "key AKIAIOSFODNN7EXAMPLE here"),
            ("x", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"),
            ("url.full", "postgres://app:hunter2@db/shop"),
        ] {
            assert!(suspicion(key, value).is_some(), "{key}");
        }
        for (key, value) in [
            ("db.password", "***"),
            ("gen_ai.usage.input_tokens", "310"),
            ("url.full", "https://shop.example/user@example"),
            ("url.full", "postgres://app:xxxxx@db/shop"),
            ("name", "sk-short"),
            ("has_cookie", "true"),
        ] {
            assert!(suspicion(key, value).is_none(), "{key} {value}");
        }
    }
}
