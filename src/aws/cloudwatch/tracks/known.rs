//! How far each resource is known to whoever evaluates rules over all its series.

use std::collections::HashMap;

use super::{MAX_WINDOW_S, Name, Tracks};
use crate::aws::cloudwatch::want::Class;

impl Tracks {
    /// Event time up to which nothing of a resource is missing that could matter: as [`Tracks::watermarks`], and while its
    /// sentinels say trouble no further than what explains it (throttled requests and causes, which silence would make 0),
    /// though not longer than values are late. A resource without sentinels and core series is known by what it has.
    pub fn known_until(&self, now: i64) -> HashMap<&Name, i64> {
        let mut known = self.watermarks(now);
        // The newest minute in which a sentinel was not 0.
        let mut troubled: HashMap<&Name, i64> = HashMap::new();
        for track in self
            .tracks
            .iter()
            .filter(|track| track.want.shape.class == Class::Sentinel)
        {
            if let Some(minute) = track.history.nonzero() {
                let newest = troubled.entry(&track.want.resource).or_insert(minute);
                *newest = (*newest).max(minute);
            }
        }
        let mut explained: HashMap<&Name, i64> = HashMap::new();
        let mut alone: HashMap<&Name, [Option<i64>; 2]> = HashMap::new();
        for track in self.tracks.iter().filter(|track| track.leaving.is_none()) {
            let resource = &track.want.resource;
            let cursor = track.history.cursor();
            if !known.contains_key(resource) {
                if track.history.polled().is_some() {
                    // Those that show something decide, if there are any.
                    let shows = track.history.newest().is_some_and(|newest| now - newest < MAX_WINDOW_S);
                    let least = &mut alone.entry(resource).or_default()[usize::from(shows)];
                    *least = Some(least.map_or(cursor, |least| least.min(cursor)));
                }
                continue;
            }
            let Some(trouble) = troubled.get(resource).copied() else {
                continue;
            };
            let waits = track.pace.explains_trouble() && !track.forbidden && trouble >= cursor;
            if waits && track.want.shape.class == Class::Detail {
                let least = explained.entry(resource).or_insert(cursor);
                *least = (*least).min(cursor);
            }
        }
        for (resource, until) in explained {
            if let Some(known) = known.get_mut(resource) {
                *known = (*known).min(until.max(*known - self.judging.max_late));
            }
        }
        for (resource, [silent, shown]) in alone {
            if let Some(until) = shown.or(silent) {
                known.insert(resource, until);
            }
        }
        known
    }
}
