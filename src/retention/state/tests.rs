//! Every state, their precedence and their boundaries.

use super::*;

const DAY: u64 = 86_400;
/// The traces of these tests start here; "now" is counted from it.
const START: u64 = 1_700_000_000;

fn policy(required_days: u64) -> Policy {
    Policy {
        xray_retention: Duration::from_secs(30 * DAY),
        required: Duration::from_secs(required_days * DAY),
        warn_before: Duration::from_secs(7 * DAY),
        critical_before: Duration::from_secs(2 * DAY),
        min_age: Duration::from_secs(3_600),
    }
}

fn facts(spans: u32, revision: u32) -> Source {
    Source::Known(Facts {
        spans: Some(spans),
        revision: Some(revision),
        ..Facts::default()
    })
}

fn copy(spans: u32, revision: u32) -> Held {
    Held {
        spans: Some(spans),
        revision: Some(revision),
        ..Held::default()
    }
}

fn complete() -> Answer {
    Answer::Copy(copy(5, 3))
}

fn kept_until(seconds: u64) -> Answer {
    Answer::Copy(Held {
        expires_at: Some(UnixNanos::from_seconds(START + seconds)),
        ..copy(5, 3)
    })
}

fn unread() -> Answer {
    Answer::Unread("access denied".to_owned())
}

fn with(change: impl FnOnce(&mut Held)) -> Answer {
    let mut held = copy(5, 3);
    change(&mut held);
    Answer::Copy(held)
}

/// What a trace of five spans at revision 3 is, so many seconds after its start.
fn at(policy: &Policy, seconds: u64, answers: &[Answer]) -> Judged {
    let now = UnixNanos::from_seconds(START + seconds);
    judge(policy, now, UnixNanos::from_seconds(START), &facts(5, 3), answers)
}

fn state(policy: &Policy, seconds: u64, answers: &[Answer]) -> State {
    match at(policy, seconds, answers) {
        Judged::Is(verdict) => verdict.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_state_and_every_boundary() {
    use State::*;
    let empty = || Answer::Copy(copy(0, 3));
    let partial = || Answer::Copy(copy(4, 3));
    let second = 1;
    for (seconds, answers, wanted) in [
        // Without a copy, by time left; the boundaries belong to the more urgent state.
        (3_600, vec![], Pending),
        (23 * DAY - second, vec![], Pending),
        (23 * DAY, vec![], Due),
        (28 * DAY - second, vec![], Due),
        (28 * DAY, vec![], AtRisk),
        (30 * DAY, vec![], AtRisk),
        (30 * DAY + second, vec![], Lost),
        (30 * DAY + second, vec![Answer::Nothing, Answer::Nothing], Lost),
        // Empty copies.
        (DAY, vec![empty()], EmptyCopy),
        (30 * DAY, vec![empty()], EmptyCopy),
        (30 * DAY + second, vec![empty()], Lost),
        (DAY, vec![empty(), Answer::Nothing], EmptyCopy),
        (DAY, vec![empty(), partial()], EmptyCopy),
        (DAY, vec![empty(), complete()], Archived),
        // Incomplete ones.
        (DAY, vec![partial()], PartialCopy),
        (31 * DAY, vec![partial()], PartialCopy),
        (31 * DAY, vec![empty(), partial()], PartialCopy),
        (DAY, vec![Answer::Copy(copy(5, 2))], PartialCopy),
        (DAY, vec![with(|held| held.in_progress = true)], PartialCopy),
        (DAY, vec![with(|held| held.limit_exceeded = true)], PartialCopy),
        (DAY, vec![partial(), complete()], Archived),
        // Complete ones.
        (DAY, vec![complete()], Archived),
        (89 * DAY, vec![complete()], Archived),
        (DAY, vec![kept_until(90 * DAY)], Archived),
        (DAY, vec![kept_until(90 * DAY - second)], ShortCopy),
        (DAY, vec![kept_until(30 * DAY), kept_until(90 * DAY)], Archived),
        // What an archive has let go is no copy; at the very moment it still is.
        (DAY, vec![kept_until(DAY)], ShortCopy),
        (DAY + second, vec![kept_until(DAY)], Pending),
        (31 * DAY, vec![kept_until(DAY)], Lost),
    ] {
        assert_eq!(state(&policy(90), seconds, &answers), wanted, "{seconds} {answers:?}");
    }
}

#[test]
fn what_could_not_be_read_is_unknown_unless_another_archive_proves_a_copy() {
    use State::*;
    for (seconds, answers, wanted) in [
        (DAY, vec![unread()], Unknown),
        (29 * DAY, vec![unread(), Answer::Nothing], Unknown),
        // Never a loss.
        (31 * DAY, vec![unread()], Unknown),
        (31 * DAY, vec![Answer::Copy(copy(0, 3)), unread()], Unknown),
        (DAY, vec![Answer::Copy(copy(4, 3)), unread()], Unknown),
        (DAY, vec![Answer::Copy(copy(0, 3)), unread()], Unknown),
        (DAY, vec![complete(), unread()], Archived),
        // The one that was not read may be kept long enough.
        (DAY, vec![kept_until(40 * DAY), unread()], Unknown),
    ] {
        assert_eq!(state(&policy(90), seconds, &answers), wanted, "{seconds} {answers:?}");
    }
}

#[test]
fn a_failed_read_of_x_ray_never_gives_archived() {
    let unread = Source::Unread("throttled".to_owned());
    let start = UnixNanos::from_seconds(START);
    let of = |days: u64, answers: &[Answer]| match judge(
        &policy(90),
        UnixNanos::from_seconds(START + days * DAY),
        start,
        &unread,
        answers,
    ) {
        Judged::Is(verdict) => (verdict.state, verdict.why),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(1, &[complete()]), (State::Unknown, Some("throttled".to_owned())));
    // What needs no fact of X-Ray beyond its start is told.
    assert_eq!(of(29, &[Answer::Nothing]).0, State::AtRisk);
    assert_eq!(of(29, &[Answer::Copy(copy(0, 3))]).0, State::EmptyCopy);
    assert_eq!(of(1, &[with(|held| held.limit_exceeded = true)]).0, State::PartialCopy);
}

#[test]
fn without_required_retention_the_life_of_archives_is_not_looked_at() {
    assert_eq!(state(&policy(0), DAY, &[kept_until(DAY)]), State::Archived);
    assert_eq!(state(&policy(0), 400 * DAY, &[complete()]), State::Archived);
    assert_eq!(state(&policy(0), 400 * DAY, &[]), State::Lost);
}

#[test]
fn what_nobody_requires_any_more_and_what_may_still_be_written_is_in_no_state() {
    assert_eq!(state(&policy(90), 90 * DAY, &[complete()]), State::Archived);
    assert_eq!(at(&policy(90), 90 * DAY + 1, &[complete()]), Judged::NotRequired);
    assert_eq!(at(&policy(10), 10 * DAY + 1, &[]), Judged::NotRequired);
    assert_eq!(at(&policy(90), 3_599, &[]), Judged::TooYoung);
    // A start in the future.
    let now = UnixNanos::from_seconds(START - 100);
    let judged = judge(&policy(90), now, UnixNanos::from_seconds(START), &facts(1, 1), &[]);
    assert_eq!(judged, Judged::TooYoung);
}

#[test]
fn an_incomplete_copy_is_urgent_when_little_time_is_left() {
    let urgent = |seconds, answers: &[Answer]| match at(&policy(90), seconds, answers) {
        Judged::Is(verdict) => (verdict.urgent, verdict.recoverable),
        other => panic!("{other:?}"),
    };
    for copy in [copy(0, 3), copy(4, 3)] {
        let answers = [Answer::Copy(copy)];
        assert_eq!(urgent(28 * DAY - 1, &answers), (false, true));
        assert_eq!(urgent(28 * DAY, &answers), (true, true));
    }
    assert_eq!(urgent(31 * DAY, &[Answer::Copy(copy(4, 3))]), (true, false));
    assert_eq!(urgent(29 * DAY, &[complete()]), (false, true));
    assert_eq!(urgent(29 * DAY, &[]), (false, true));
}

#[test]
fn the_ids_of_the_spans_decide_where_both_sides_tell_them() {
    let source = |xor, in_progress| {
        Source::Known(Facts {
            spans: Some(2),
            span_xor: Some(xor),
            revision: Some(9),
            in_progress,
            differs: false,
        })
    };
    let ledger = |xors: &[u64], open| {
        Answer::Copy(Held {
            xors: xors.iter().copied().collect(),
            in_progress: open,
            only_ended: true,
            ..Held::default()
        })
    };
    let of = |source: &Source, answer: Answer| {
        let now = UnixNanos::from_seconds(START + DAY);
        match judge(&policy(90), now, UnixNanos::from_seconds(START), source, &[answer]) {
            Judged::Is(verdict) => verdict.state,
            other => panic!("{other:?}"),
        }
    };
    // In two deliveries, in one, and a part that was brought again whole.
    assert_eq!(of(&source(6, false), ledger(&[4, 2], false)), State::Archived);
    assert_eq!(of(&source(6, false), ledger(&[6], false)), State::Archived);
    assert_eq!(of(&source(6, false), ledger(&[2, 6], false)), State::Archived);
    assert_eq!(of(&source(6, false), ledger(&[4], false)), State::PartialCopy);
    // What was open when it was delivered has been delivered again when it ended.
    assert_eq!(of(&source(6, false), ledger(&[4, 2], true)), State::Archived);
    assert_eq!(of(&source(7, false), ledger(&[4, 2], true)), State::PartialCopy);
    // An archive that has the open span itself.
    let open = Answer::Copy(Held {
        xors: [6].into_iter().collect(),
        in_progress: true,
        ..copy(2, 9)
    });
    assert_eq!(of(&source(6, true), open), State::PartialCopy);
}

#[test]
fn a_copy_that_nobody_has_compared_is_undecided_and_can_be_compared() {
    let source = |revision, in_progress| {
        Source::Known(Facts {
            revision,
            in_progress,
            ..Facts::default()
        })
    };
    let noted = || {
        Answer::Copy(Held {
            xors: [6].into_iter().collect(),
            only_ended: true,
            ..Held::default()
        })
    };
    let of = |source: Source, days: u64| {
        let now = UnixNanos::from_seconds(START + days * DAY);
        match judge(&policy(90), now, UnixNanos::from_seconds(START), &source, &[noted()]) {
            Judged::Is(verdict) => (verdict.state, verdict.comparable),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(source(Some(1), false), 1), (State::Archived, false));
    assert_eq!(of(source(Some(2), false), 1), (State::Unknown, true));
    assert_eq!(of(source(None, false), 1), (State::Unknown, true));
    assert_eq!(of(source(Some(1), true), 1), (State::Unknown, true));
    // Too late to compare, and no proof either way.
    assert_eq!(of(source(Some(2), false), 31), (State::Unknown, false));
}

#[test]
fn exit_codes_are_those_of_monitoring_plug_ins() {
    use State::*;
    let code = |states: &[State], urgent: u64, failed: bool| {
        let mut counts = Counts::default();
        for state in states {
            counts.add_many(*state, 1);
        }
        counts.urgent = urgent;
        counts.exit_code(failed)
    };
    for (states, urgent, failed, wanted) in [
        (&[][..], 0, false, 0),
        (&[Archived, Pending], 0, false, 0),
        (&[Due], 0, false, 1),
        (&[ShortCopy], 0, false, 1),
        (&[EmptyCopy], 0, false, 1),
        (&[PartialCopy], 0, false, 1),
        (&[PartialCopy], 1, false, 2),
        (&[AtRisk], 0, false, 2),
        (&[Lost], 0, true, 2),
        (&[Unknown, Due], 0, false, 3),
        (&[Due], 0, true, 3),
        (&[Unknown, AtRisk], 0, false, 2),
    ] {
        assert_eq!(code(states, urgent, failed), wanted, "{states:?}");
    }
}
