//! Whether polling works and how far each resource is known: a rule must not take blindness for silence.

use super::Shard;
use super::poll::Polled;
use crate::aws::cloudwatch::output::OwnPoint;
use crate::aws::cloudwatch::tracks::Beat;
use crate::aws::cloudwatch::want::{ACCOUNT, Name};

/// What is known of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Ok,
    /// Its heartbeat has not settled for longer than values are late.
    Late,
    /// Its silence says nothing.
    Blind,
    /// It has not been seen long enough.
    Unknown,
}

/// Rounds without any answer after which nothing is seen.
const DARK_ROUNDS: u32 = 2;

/// Judges by the heartbeat. `since`: from when a heartbeat could have been seen.
fn sight_of(beat: Option<Beat>, since: i64, now: i64, max_late: i64) -> Sight {
    let Some(beat) = beat else { return Sight::Unknown };
    let blind = 3 * max_late;
    // Compared with the last answer: a heartbeat that is asked once an hour is not dead for 59 minutes.
    let age = beat.polled - beat.newest.unwrap_or(since);
    if age >= blind || now - beat.due >= blind {
        return Sight::Blind;
    }
    if beat.newest.is_none() {
        return Sight::Unknown;
    }
    if age >= max_late + 2 * beat.period {
        return Sight::Late;
    }
    Sight::Ok
}

impl Shard {
    /// Says how polling goes. Said again in the next round: a refusal needs no second try.
    pub(super) async fn say_how_it_goes(&mut self, polled: &Polled) {
        let now = self.now();
        let up = polled.asked == 0 || polled.answered > 0;
        self.dark_rounds = if up { 0 } else { self.dark_rounds.saturating_add(1) };
        let dark = self.dark_rounds >= DARK_ROUNDS;
        let mut builder = self.builder();
        let mut gauge = |resource: &str, name: &str, unit: &str, value: f64| {
            let point = OwnPoint {
                name,
                unit,
                attributes: &[],
                start: 0,
                time: now,
                value,
            };
            builder.add_own(resource, &point);
        };
        gauge(ACCOUNT, "aws.cloudwatch.poll.up", "1", f64::from(u8::from(up)));
        let mut watermarks = self.tracks.known_until(now);
        let max_late = self.settings().max_late;
        let (mut blind, mut oldest) = (0, None);
        for watched in self.source.watched() {
            if let Some(watermark) = watermarks.remove(&watched.id) {
                gauge(&watched.id, "aws.cloudwatch.watermark", "s", watermark as f64);
                oldest = Some(oldest.unwrap_or(watermark).min(watermark));
            }
            let since = self.started.max(watched.since);
            let mut sight = sight_of(self.tracks.beat(&watched.id), since, now, max_late);
            if dark {
                sight = Sight::Blind;
            }
            if sight != Sight::Unknown {
                let value = if sight == Sight::Blind { 1.0 } else { 0.0 };
                gauge(&watched.id, "aws.cloudwatch.blind", "1", value);
            }
            blind += u32::from(sight == Sight::Blind);
        }
        // Jobs, pipelines, the account: nobody watches their heartbeat, and rules wait for them all the same.
        let mut others: Vec<(&Name, i64)> = watermarks.into_iter().collect();
        others.sort_unstable();
        for (resource, watermark) in others {
            gauge(resource, "aws.cloudwatch.watermark", "s", watermark as f64);
        }
        self.counts.blind.set(f64::from(blind));
        self.counts
            .watermark_age
            .set(oldest.map_or(0.0, |oldest| (now - oldest) as f64));
        self.source.own_points(now, &self.tracks, &mut builder);
        let request = builder.finish(|id| self.source.describe(id));
        let answer = self.hand_on(request).await;
        let over = answer.as_ref().err().is_none_or(|refused| refused.permanent);
        self.source.own_points_answered(over);
        if let Err(refused) = answer {
            tracing::debug!(receiver = %self.context.id, reason = %refused, "poll state was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_judged_by_the_last_answer_and_not_by_the_clock() {
        let beat = |newest, polled, due| {
            Some(Beat {
                newest,
                polled,
                due,
                period: 60,
            })
        };
        assert_eq!(sight_of(None, 0, 10_000, 600), Sight::Unknown);
        assert_eq!(sight_of(beat(None, 1_000, 1_060), 0, 1_010, 600), Sight::Unknown);
        assert_eq!(sight_of(beat(None, 1_900, 1_960), 0, 1_910, 600), Sight::Blind);
        assert_eq!(
            sight_of(beat(Some(900), 1_000, 4_600), 0, 4_500, 600),
            Sight::Ok,
            "asked hourly"
        );
        assert_eq!(sight_of(beat(Some(900), 1_620, 1_680), 0, 1_630, 600), Sight::Late);
        assert_eq!(
            sight_of(beat(Some(900), 1_000, 1_060), 0, 2_860, 600),
            Sight::Blind,
            "no more answers"
        );
    }
}
