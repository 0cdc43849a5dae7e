//! Whose account it is: from the role's ARN, or by asking STS until it answers.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::aws::access::{account_of_arn, partition};
use crate::aws::rate::Limits;
use crate::aws::shards::Health;
use crate::aws::{Access, Calls, Failure, Place};
use crate::component::BuildContext;

/// How long to wait when the account cannot be told yet.
const RETRY: Duration = Duration::from_secs(30);

/// The account of a place and the access that answered. `None` when told to stop first.
pub(super) async fn account_of(
    access: Arc<Access>,
    place: &Place,
    context: &BuildContext,
    health: &Health,
    quit: &CancellationToken,
) -> Option<(Arc<Access>, String)> {
    if let Some(account) = place.role.as_ref().and_then(|role| account_of_arn(&role.role_arn)) {
        return Some((access, account.to_owned()));
    }
    caller_account(access, place, context, health, quit).await
}

async fn caller_account(
    mut access: Arc<Access>,
    place: &Place,
    context: &BuildContext,
    health: &Health,
    quit: &CancellationToken,
) -> Option<(Arc<Access>, String)> {
    let calls = Calls::new(
        "GetCallerIdentity",
        "sts:GetCallerIdentity",
        Limits::STS,
        Arc::clone(&context.clock),
        &context.instruments,
        ("", &place.region),
    );
    let mut told: Option<Failure> = None;
    loop {
        let sts = access.sts(&access.config(place).await);
        let answer = tokio::select! {
            () = quit.cancelled() => return None,
            answer = calls.send(|| sts.get_caller_identity().send()) => answer,
        };
        let failure = match answer {
            Ok(identity) => match identity.account() {
                Some(account) => {
                    health.report(&place.name(), None);
                    return Some((access, account.to_owned()));
                }
                None => Failure::Refused {
                    code: "no account".to_owned(),
                    message: "GetCallerIdentity named no account".to_owned(),
                },
            },
            Err(failure) => failure,
        };
        if told.as_ref() != Some(&failure) {
            tracing::warn!(receiver = %context.id, region = %place.region, partition = partition(&place.region),
                trouble = %failure, "cannot tell the AWS account yet; trying on");
        }
        health.report(&place.name(), Some(format!("account unknown: {failure}")));
        let with_credentials = failure.ends_the_round();
        told = Some(failure);
        tokio::select! {
            () = quit.cancelled() => return None,
            () = context.clock.sleep(RETRY) => {}
        }
        if with_credentials {
            access = Arc::new(access.renewed().await);
        }
    }
}
