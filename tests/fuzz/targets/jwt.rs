//! Signed tokens and sets of keys as strangers write them: no panic, and nothing counts as signed but the very bytes that
//! the key has signed. The token is what stands before the first line's end, a set of keys what may stand behind it.

use radiosonde::components::extensions::oidc::jws::Token;
use radiosonde::components::extensions::oidc::keys::KeySet;

/// The key, head and payload of RFC 8037, appendix A.
const KEYS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (token, keys) = text.split_once('\n').unwrap_or((&text, ""));
    let ours = KeySet::read(KEYS).expect("a set of one key");
    let good = format!("{SIGNED}.{SIGNATURE}");
    let read = Token::read(&good).expect("a token");
    assert!(ours.have_signed(&read), "the token of the standard is good");
    if let Ok(read) = Token::read(token) {
        assert_eq!(ours.have_signed(&read), token == good, "{token}");
    }
    // Of a set that anybody wrote: whatever it says, the good token is good by the good key only.
    if let Ok(theirs) = KeySet::read(keys) {
        if theirs.have_signed(&read) {
            assert!(
                keys.contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") || keys.contains('\\'),
                "{keys}"
            );
        }
        if let Ok(read) = Token::read(token) {
            let _ = theirs.have_signed(&read);
        }
    }
}
