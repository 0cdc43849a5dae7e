//! STS: who am I, and roles of other accounts. Query protocol: form in, XML out.

use percent_encoding::percent_decode_str;

use super::answer::{ApiError, Caller, escape};
use super::world::World;

/// Fields of a form body.
pub fn fields(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body).replace('+', " ");
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Answers one STS call at `now` (unix seconds).
pub fn call(world: &World, caller: &Caller, form: &[(String, String)], now: f64) -> Result<String, ApiError> {
    let field = |name: &str| {
        form.iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    };
    match field("Action").unwrap_or_default() {
        "GetCallerIdentity" => Ok(format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/simulated</Arn><UserId>AIDASIMULATED</UserId>\
             <Account>{account}</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>sim</RequestId>\
             </ResponseMetadata></GetCallerIdentityResponse>",
            account = escape(&caller.account)
        )),
        "AssumeRole" => {
            let arn = field("RoleArn").unwrap_or_default();
            let session = field("RoleSessionName").unwrap_or_default();
            assume_role(world, arn, session, field("ExternalId"), now)
        }
        other => Err(ApiError::sender(
            "InvalidAction",
            format!("Could not find operation {other}"),
        )),
    }
}

fn assume_role(
    world: &World,
    arn: &str,
    session: &str,
    external_id: Option<&str>,
    now: f64,
) -> Result<String, ApiError> {
    let denied = || ApiError {
        status: 403,
        ..ApiError::sender(
            "AccessDenied",
            format!("not authorized to perform: sts:AssumeRole on resource: {arn}"),
        )
    };
    let role = world
        .scenario
        .roles
        .iter()
        .find(|role| role.arn == arn)
        .ok_or_else(denied)?;
    if role
        .external_id
        .as_deref()
        .is_some_and(|wanted| external_id != Some(wanted))
    {
        return Err(denied());
    }
    let account = arn.split(':').nth(4).unwrap_or_default();
    let expires = jiff::Timestamp::from_second(now as i64 + 3600)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string();
    Ok(format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><Arn>{arn}/{session}</Arn><AssumedRoleId>AROASIM:{session}</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>ASIASIM0{account}</AccessKeyId><SecretAccessKey>simulated</SecretAccessKey>\
         <SessionToken>simulated</SessionToken><Expiration>{expires}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>sim</RequestId></ResponseMetadata></AssumeRoleResponse>",
        arn = escape(arn),
        session = escape(session),
        account = escape(account),
    ))
}
