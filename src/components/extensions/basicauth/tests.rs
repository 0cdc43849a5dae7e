use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::*;
use crate::component::{ClientAuth, Denied, Outgoing, ServerAuth};
use crate::pdata::Auth;

/// What `htpasswd` (apache2-utils) and `openssl passwd` write for the password `pa55`, and bcrypt at its lowest cost.
fn list() -> String {
    let bcrypt = bcrypt::hash_with_salt("pa55", 4, [7; 16]).unwrap().to_string();
    format!(
        "# users\nplain:pa55\nsha:{{SHA}}{sha}\nssha:{{SSHA}}{ssha}\napr:$apr1$rqXexS6Z$PKknIxWbk78SMO2yRgjqI/\nbc:{bcrypt}\n",
        sha = STANDARD.encode(sha("pa55")),
        ssha = STANDARD.encode([&sha("pa55salt")[..], b"salt"].concat()),
    )
}

fn sha(text: &str) -> Vec<u8> {
    use sha2::Digest;
    sha1::Sha1::digest(text.as_bytes()).to_vec()
}

fn server(inline: &str, file: Option<WatchedFile<Users>>) -> BasicServer {
    let inline = Arc::new(Users::read(inline).unwrap());
    BasicServer::new(Source { inline, file })
}

async fn judge(server: &BasicServer, value: &str) -> Result<Auth, Denied> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(value).unwrap());
    server.authenticate(&headers).await
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn every_kind_of_hash_lets_its_password_in_and_no_other() {
    let server = server(&list(), None);
    for user in ["plain", "sha", "ssha", "apr", "bc"] {
        for _ in 0..2 {
            let auth = judge(&server, &basic(&format!("{user}:pa55"))).await.unwrap();
            assert_eq!(auth.attributes, [("username".into(), user.into())], "{user}");
        }
        for wrong in ["", "pa5", "pa555", "PA55"] {
            assert!(
                judge(&server, &basic(&format!("{user}:{wrong}"))).await.is_err(),
                "{user}:{wrong}"
            );
        }
    }
    assert!(judge(&server, &basic("nobody:pa55")).await.is_err());
    // The password of one is not that of another, also when it is remembered.
    assert!(judge(&server, &basic("apr:wrong")).await.is_err());
}

#[test]
fn md5_crypt_is_that_of_openssl() {
    // openssl passwd -apr1 -salt rqXexS6Z pa55; openssl passwd -1 -salt abcdefgh "a longer password of many bytes"
    let known = [
        ("pa55", "$apr1$rqXexS6Z$", APR1),
        ("a longer password of many bytes", "$1$abcdefgh$", MD5),
    ];
    for (password, head, hash) in known {
        let users = Users::read(&format!("u:{head}{hash}")).unwrap();
        let (hash, counts) = users.hash_of("u").unwrap();
        assert!(counts && hash.fits(password), "{head}");
        assert!(!hash.fits("other"));
    }
}

const APR1: &str = "PKknIxWbk78SMO2yRgjqI/";
const MD5: &str = "H/r36TEx6BiwnoOB7vtf//";

#[tokio::test]
async fn what_is_no_pair_is_refused_with_a_challenge_and_never_shown() {
    let server = server("u:secret-word", None);
    let bad = [
        "Bearer x".to_owned(),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        basic("u"),
        basic("u:secret-wor"),
        format!("Basic {}", STANDARD.encode(b"u:\xff\xfe")),
    ];
    for value in bad {
        let Err(Denied::Unproven { reason, challenge }) = judge(&server, &value).await else {
            panic!("{value}")
        };
        assert!(challenge.unwrap().to_str().unwrap().starts_with("Basic realm="));
        assert!(!reason.contains("secret"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_counts_and_the_configuration_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [1; 16]).unwrap().to_string();
    std::fs::write(&path, format!("a:{}\nb:file\n", hash("old"))).unwrap();
    let file = WatchedFile::open(&path, Users::read).unwrap();
    let server = server("b:inline\n", Some(file));
    assert!(judge(&server, &basic("a:old")).await.is_ok());
    assert!(judge(&server, &basic("b:inline")).await.is_ok());
    assert!(judge(&server, &basic("b:file")).await.is_err());
    std::fs::write(&path, format!("a:{}\n", hash("new"))).unwrap();
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert!(
        judge(&server, &basic("a:old")).await.is_err(),
        "what was remembered is of the old file"
    );
    assert!(judge(&server, &basic("a:new")).await.is_ok());
}

#[tokio::test]
async fn an_exporter_sends_its_pair() {
    let client = BasicClient {
        user: Part::Fixed(Secret::new("shop")),
        password: Part::Fixed(Secret::new("a:b")),
    };
    let mut headers = HeaderMap::new();
    let request = Outgoing {
        method: &Method::POST,
        uri: &Uri::from_static("http://far/"),
        headers: &mut headers,
        body: &[],
    };
    client.authorize(request).await.unwrap();
    assert_eq!(headers["authorization"], basic("shop:a:b").as_str());
    assert!(headers["authorization"].is_sensitive());
}

#[test]
fn sections_are_one_side_or_the_other() {
    let problems = |yaml: &str| {
        let section = Section::from_yaml(yaml);
        let plan = BasicAuthFactory.check(&section);
        assert!(plan.is_some() || section.has_errors(), "{yaml}");
        section.problems().join("\n")
    };
    assert!(problems("{}").contains("give `htpasswd`"));
    assert!(problems("{htpasswd: {inline: 'a:b'}, client_auth: {username: a}}").contains("not both"));
    assert!(problems("htpasswd: {}").contains("no users"));
    let problem = problems("htpasswd: {inline: 'geheim'}");
    assert!(
        problem.contains("line 1 is not") && !problem.contains("geheim"),
        "{problem}"
    );
    assert!(problems("htpasswd: {inline: 'a:$6$x$y'}").contains("not built yet"));
    assert!(problems("client_auth: {password: x}").contains("no user"));
    assert!(problems("client_auth: {username: a, aws_secrets_manager: {secret_arn: x}}").contains("not built yet"));
    assert_eq!(problems("htpasswd: {inline: 'a:b'}"), "");
}
