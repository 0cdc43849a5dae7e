use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Duration;

use super::*;
use crate::component::{Clock, Denied, ServerAuth, UnixNanos};
use crate::net::client::test_peer::{Peer, Reply, server_tls};
use crate::net::tls::test_certificates::Authority;
use crate::pdata::Auth;

const NOW: u64 = 2_000_000_000;

struct Turned(AtomicU64);

impl Clock for Turned {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A key of an issuer.
struct Signer {
    id: &'static str,
    algorithm: &'static str,
    sign: Sign,
    public: Value,
}

impl Signer {
    fn new(id: &'static str, algorithm: &'static str) -> Self {
        let (sign, mut public) = match algorithm {
            "ES256" => ecdsa(),
            "EdDSA" => ed25519(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            _ => rsa(&RSA_PSS_SHA256),
        };
        public["kid"] = id.into();
        Self {
            id,
            algorithm,
            sign,
            public,
        }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"}), claims)
    }

    fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            BASE64.encode(head.to_string()),
            BASE64.encode(claims.to_string())
        );
        format!("{signed}.{}", BASE64.encode((self.sign)(signed.as_bytes())))
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What signs, and the public key.
type Made = (Sign, Value);

fn ecdsa() -> Made {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let public = json!({"kty": "EC", "crv": "P-256", "use": "sig",
        "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])});
    let sign = move |text: &[u8]| pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
    (Box::new(sign), public)
}

fn ed25519() -> Made {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key())});
    (Box::new(move |text: &[u8]| pair.sign(text).as_ref().to_vec()), public)
}

fn rsa(encoding: &'static RsaSignatureEncoding) -> Made {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RSAPublicKey in DER: a modulus of 256 bytes behind nine of heads and sign, and the exponent as the last three.
    let key = pair.public_key().as_ref();
    assert_eq!((&key[key.len() - 5..], key.len()), (&[2, 3, 1, 0, 1][..], 270));
    let public = json!({"kty": "RSA",
        "n": BASE64.encode(&key[9..265]),
        "e": BASE64.encode(&key[267..])});
    let sign = move |text: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text, &mut signature).unwrap();
        signature
    };
    (Box::new(sign), public)
}

fn set_of(signers: &[&Signer]) -> String {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.public).collect();
    json!({ "keys": keys }).to_string()
}

/// An issuer whose keys can be changed.
struct Issuing {
    peer: Peer,
    keys: Arc<Mutex<Reply>>,
}

impl Issuing {
    async fn start(keys: String) -> Self {
        let reply = Arc::new(Mutex::new(Reply::http(200).body(keys.as_bytes())));
        let script = Arc::clone(&reply);
        let peer = Peer::start(move |request| match request.path.as_str() {
            "/realm/.well-known/openid-configuration" => {
                let at = format!("http://{}", request.authority);
                let body = json!({"issuer": format!("{at}/realm"), "jwks_uri": format!("{at}/keys")});
                Reply::http(200).body(body.to_string().as_bytes())
            }
            "/keys" => script.lock().unwrap().clone(),
            _ => Reply::http(404),
        })
        .await;
        Self { peer, keys: reply }
    }

    fn name(&self) -> String {
        format!("http://{}/realm", self.peer.address)
    }

    fn publish(&self, keys: String) {
        *self.keys.lock().unwrap() = Reply::http(200).body(keys.as_bytes());
    }

    /// Times that the keys were asked for.
    fn asked(&self) -> usize {
        self.peer
            .requests()
            .iter()
            .filter(|request| request.path == "/keys")
            .count()
    }

    fn claims(&self) -> Value {
        json!({"iss": self.name(), "aud": ["other", "telemetry"], "sub": "me", "groups": ["a", "b"],
            "exp": NOW + 600, "iat": NOW - 5, "nbf": NOW - 5})
    }

    fn auth(&self, more: &str) -> OidcAuth {
        auth(&format!(
            "{{issuer_url: '{}', audience: telemetry, groups_claim: groups{more}}}",
            self.name()
        ))
    }
}

fn auth(provider: &str) -> OidcAuth {
    let section = Section::from_yaml(provider);
    let issuer = check_issuer(&section, section.read().unwrap());
    let issuer = issuer.unwrap_or_else(|| panic!("{:?}", section.problems()));
    let clock = Arc::new(Turned(AtomicU64::new(NOW)));
    OidcAuth::new(
        http::header::AUTHORIZATION,
        vec![Provider::open(issuer).unwrap()],
        clock,
    )
}

async fn judge(auth: &OidcAuth, token: &str) -> Result<Auth, Denied> {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
    );
    auth.authenticate(&headers).await
}

async fn reason(auth: &OidcAuth, token: &str) -> String {
    match judge(auth, token).await {
        Err(Denied::Unproven { reason, .. }) => reason.into_owned(),
        other => panic!("{other:?}"),
    }
}

fn changed(mut claims: Value, key: &str, value: Value) -> Value {
    claims[key] = value;
    claims
}

#[tokio::test]
async fn a_signed_token_is_let_in_and_says_who_it_is() {
    for algorithm in ["ES256", "EdDSA", "RS256", "PS256"] {
        let signer = Signer::new("k1", algorithm);
        let issuing = Issuing::start(set_of(&[&signer])).await;
        let auth = issuing.auth("");
        let proven = judge(&auth, &signer.sign(&issuing.claims())).await.unwrap();
        let value = |key: &str| {
            proven
                .attributes
                .iter()
                .find(|(name, _)| &**name == key)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!((&*value("subject"), &*value("membership")), ("me", "a;b"));
        assert_eq!(*value("issuer"), *issuing.name());
        assert!(
            judge(
                &auth,
                &signer.sign(&changed(issuing.claims(), "aud", "telemetry".into()))
            )
            .await
            .is_ok()
        );
        assert_eq!(issuing.asked(), 1);
    }
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused() {
    let signer = Signer::new("k1", "ES256");
    let issuing = Issuing::start(set_of(&[&signer])).await;
    let auth = issuing.auth("");
    let cases: [(&str, Value, &str); 11] = [
        ("exp", json!(NOW - 31), "has expired"),
        ("exp", json!("soon"), "no expiry"),
        ("exp", Value::Null, "no expiry"),
        ("exp", json!(-1), "no expiry"),
        ("nbf", json!(NOW + 60), "not count yet"),
        ("iat", json!(NOW + 60), "not count yet"),
        ("nbf", json!("x"), "a time that is none"),
        ("aud", json!("telemetry2"), "another audience"),
        ("aud", json!(["x"]), "another audience"),
        ("aud", json!({"telemetry": 1}), "another audience"),
        ("iss", json!("https://evil.example"), "unknown issuer"),
    ];
    for (key, value, why) in cases {
        let token = signer.sign(&changed(issuing.claims(), key, value.clone()));
        let reason = reason(&auth, &token).await;
        assert!(reason.contains(why), "{key}: {value}: {reason}");
    }
    let mut without = issuing.claims();
    without.as_object_mut().unwrap().remove("exp");
    assert!(reason(&auth, &signer.sign(&without)).await.contains("no expiry"));
}

#[tokio::test]
async fn none_shared_secrets_and_foreign_keys_never_count() {
    let signer = Signer::new("k1", "ES256");
    let other = Signer::new("k1", "ES256");
    let issuing = Issuing::start(set_of(&[&signer])).await;
    let auth = issuing.auth("");
    let claims = issuing.claims();
    let good = signer.sign(&claims);
    let [_, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "typ": "JWT"}),
        json!({"alg": "", "kid": "k1"}),
        json!({"kid": "k1"}),
    ] {
        let head = BASE64.encode(header.to_string());
        for end in ["", signature] {
            assert!(
                judge(&auth, &format!("{head}.{payload}.{end}")).await.is_err(),
                "{header}"
            );
        }
    }
    // The public key used as a shared secret, and other algorithms than the key's.
    use hmac::{Hmac, KeyInit, Mac};
    for secret in [set_of(&[&signer]), signer.public["x"].as_str().unwrap().to_owned()] {
        let signed = format!("{}.{payload}", BASE64.encode(r#"{"alg":"HS256","kid":"k1"}"#));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let token = format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()));
        assert!(reason(&auth, &token).await.contains("does not count"));
    }
    for head in [
        json!({"alg": "RS256", "kid": "k1"}),
        json!({"alg": "ES384", "kid": "k1"}),
        json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}),
    ] {
        assert!(judge(&auth, &signer.sign_as(&head, &claims)).await.is_err(), "{head}");
    }
    // A token that brings its own key.
    let own = json!({"alg": "ES256", "jwk": other.public, "jku": "http://evil.example/keys"});
    assert!(judge(&auth, &other.sign_as(&own, &claims)).await.is_err());
    assert!(
        reason(&auth, &other.sign(&claims))
            .await
            .contains("no key of the issuer")
    );
    let forged = BASE64.encode(changed(claims.clone(), "sub", "root".into()).to_string());
    let head = good.split('.').next().unwrap();
    assert!(judge(&auth, &format!("{head}.{forged}.{signature}")).await.is_err());
    for nonsense in ["", "a", "a.b", "a.b.c", "a.b.c.d", &".".repeat(50), &"x".repeat(20_000)] {
        assert!(judge(&auth, nonsense).await.is_err());
    }
    // A key of the kind `oct` in the published set is left out, not used.
    assert!(KeySet::read(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"k1","alg":"HS256"}]}"#).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_fetched_and_a_stranger_cannot_make_us_ask_for_ever() {
    let (old, new) = (Signer::new("old", "EdDSA"), Signer::new("new", "EdDSA"));
    let issuing = Issuing::start(set_of(&[&old])).await;
    let auth = issuing.auth("");
    let claims = issuing.claims();
    judge(&auth, &old.sign(&claims)).await.unwrap();
    let stranger = Signer::new("stranger", "EdDSA");
    for _ in 0..20 {
        assert!(judge(&auth, &stranger.sign(&claims)).await.is_err());
    }
    assert_eq!(issuing.asked(), 1);
    issuing.publish(set_of(&[&new]));
    assert!(judge(&auth, &new.sign(&claims)).await.is_err(), "asked a moment ago");
    tokio::time::advance(Duration::from_secs(11)).await;
    judge(&auth, &new.sign(&claims)).await.unwrap();
    assert!(judge(&auth, &old.sign(&claims)).await.is_err(), "withdrawn");
    assert_eq!(issuing.asked(), 2);
    // Old keys are asked for again, and stay while there is no answer.
    *issuing.keys.lock().unwrap() = Reply::http(500);
    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    judge(&auth, &new.sign(&claims)).await.unwrap();
    assert_eq!(issuing.asked(), 3);
}

#[tokio::test]
async fn without_keys_nobody_can_tell() {
    let signer = Signer::new("k", "EdDSA");
    let issuing = Issuing::start(String::new()).await;
    let auth = issuing.auth("");
    let denied = judge(&auth, &signer.sign(&issuing.claims())).await.unwrap_err();
    assert!(matches!(denied, Denied::Unable(_)), "{denied:?}");
}

#[tokio::test]
async fn metadata_of_another_issuer_do_not_count() {
    let signer = Signer::new("k", "EdDSA");
    let issuing = Issuing::start(set_of(&[&signer])).await;
    // `/realm/` is not `/realm`: names are compared as they are.
    let auth = auth(&format!("{{issuer_url: '{}/', audience: telemetry}}", issuing.name()));
    let token = signer.sign(&changed(issuing.claims(), "iss", format!("{}/", issuing.name()).into()));
    assert!(matches!(judge(&auth, &token).await, Err(Denied::Unable(_))));
}

#[tokio::test]
async fn the_issuers_authority_and_keys_of_a_file() {
    let signer = Signer::new("k", "ES256");
    let authority = Authority::new();
    let keys = set_of(&[&signer]);
    let peer = Peer::start_tls(server_tls(&authority, None), move |request| {
        let at = format!("https://{}", request.authority);
        let body = match request.path.as_str() {
            "/keys" => keys.clone(),
            _ => json!({"issuer": at, "jwks_uri": format!("{at}/keys")}).to_string(),
        };
        Reply::http(200).body(body.as_bytes())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (ca, file) = (folder.path().join("ca.pem"), folder.path().join("keys.json"));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&file, set_of(&[&signer])).unwrap();
    let issuer = format!("https://localhost:{}", peer.address.port());
    let claims = json!({"iss": issuer, "aud": "t", "exp": NOW + 9, "sub": "me"});
    let by_ca = auth(&format!(
        "{{issuer_url: '{issuer}', audience: t, issuer_ca_path: {}}}",
        ca.display()
    ));
    judge(&by_ca, &signer.sign(&claims)).await.unwrap();
    let untrusted = auth(&format!("{{issuer_url: '{issuer}', audience: t}}"));
    assert!(matches!(
        judge(&untrusted, &signer.sign(&claims)).await,
        Err(Denied::Unable(_))
    ));
    let by_file = auth(&format!(
        "{{issuer_url: 'https://nowhere.example', audience: t, public_keys_file: {}}}",
        file.display()
    ));
    let claims = changed(claims, "iss", "https://nowhere.example".into());
    judge(&by_file, &signer.sign(&claims)).await.unwrap();
}

#[test]
fn settings_are_checked() {
    let problems = |yaml: &str| {
        let section = Section::from_yaml(yaml);
        let plan = OidcFactory.check(&section);
        assert_eq!(plan.is_none(), section.has_errors(), "{yaml}");
        section.problems().join("\n")
    };
    assert!(problems("{}").contains("no issuer"));
    assert!(problems("providers: [{issuer_url: 'https://a'}]").contains("is required"));
    assert!(problems("providers: [{issuer_url: a, audience: b}]").contains("must be the URL"));
    let twice = "providers: [{issuer_url: 'https://a', audience: b}, {issuer_url: 'https://a', audience: c}]";
    assert!(problems(twice).contains("there twice"));
    assert!(problems("{issuer_url: 'http://far', audience: b}").contains("plain text"));
    assert!(problems("{issuer_url: 'https://a', ignore_audience: true}").contains("count here, too"));
    assert!(problems("{issuer_url: 'https://a', audience: b, public_keys_file: /nowhere}").contains("/nowhere"));
    assert_eq!(problems("{issuer_url: 'https://a', audience: b}"), "");
}
