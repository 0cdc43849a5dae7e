//! Who calls, and how errors look on each wire.

use super::value::Value;

/// Taken from the credential scope of the signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub account: String,
    pub region: String,
    pub service: String,
}

impl Caller {
    /// Reads `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, ..., Signature=...`. The
    /// account is in the key where it ends with twelve digits (`AKIASIM0111122223333`), else the given one. The
    /// signature must be there; it is not verified.
    pub fn from_authorization(header: Option<&str>, account: &str) -> Result<Self, ApiError> {
        let missing = || ApiError {
            status: 403,
            ..ApiError::sender("MissingAuthenticationTokenException", "Missing Authentication Token")
        };
        let rest = header
            .and_then(|header| header.strip_prefix("AWS4-HMAC-SHA256 "))
            .ok_or_else(missing)?;
        let mut credential = None;
        let mut signed = false;
        for part in rest.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("Signature", value)) => signed = value.len() == 64,
                _ => {}
            }
        }
        let incomplete = || ApiError {
            status: 403,
            ..ApiError::sender("IncompleteSignatureException", "the authorization header is incomplete")
        };
        let scope: Vec<&str> = credential.ok_or_else(incomplete)?.split('/').collect();
        let [key, _date, region, service, "aws4_request"] = scope[..] else {
            return Err(incomplete());
        };
        if !signed {
            return Err(incomplete());
        }
        let digits = key.len().checked_sub(12).and_then(|from| key.get(from..));
        let own = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self {
            account: own.unwrap_or(account).to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

/// An error as the service would answer it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl ApiError {
    /// The client's fault.
    pub fn sender(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// `Sender` or `Receiver`, as the query error header says it.
    pub fn fault(&self) -> &'static str {
        if self.status < 500 { "Sender" } else { "Receiver" }
    }

    /// The body of both structured protocols.
    pub fn body(&self, namespace: &str) -> Value {
        Value::map([
            ("__type", Value::Text(format!("{namespace}#{}", self.code))),
            ("message", Value::text(self.message.as_str())),
        ])
    }

    /// The body of the query protocol.
    pub fn xml(&self) -> String {
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>{}</Type><Code>{}</Code>\
             <Message>{}</Message></Error><RequestId>sim</RequestId></ErrorResponse>",
            self.fault(),
            escape(&self.code),
            escape(&self.message)
        )
    }
}

/// Text inside XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
