//! `cargo bench --bench cloudwatch_bill`: what polling CloudWatch costs in USD, by the bill of the simulated AWS.
//!
//! The real receiver polls a fleet of reference tables (two indexes, six operations, late data) on virtual time and its
//! points are compared with what was true. Limits of the design: adaptive polling at most 20 % of asking every series
//! every minute, tiered 50 %, adaptive with every table hot 35 %; no point lost or doubled; throttle points of busy
//! tables at most four minutes old in the median.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod run;
mod scale;
mod truth;

use run::{Case, Seen, run};

// As in the agent, whose memory `scale` judges.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One line for whoever watches.
#[allow(clippy::print_stdout)] // A benchmark reports to the terminal.
fn say(text: &str) {
    println!("{text}");
}

struct Limit {
    ratio: f64,
    /// Seconds, median.
    age: i64,
}

fn cases(tables: usize, hours: i64, warm_up_h: i64) -> Vec<(Case, Limit)> {
    let case = |name, mode, hot| Case {
        hot,
        warm_up_h,
        hours,
        ..Case::of(name, mode, tables)
    };
    let limit = |ratio| Limit { ratio, age: 240 };
    vec![
        (case("adaptive", "adaptive", 0.4), limit(0.20)),
        (case("tiered", "tiered", 0.4), limit(0.50)),
        (case("all-hot", "adaptive", 1.0), limit(0.35)),
        // Only where it is named: what there is without a schedule.
        (case("uniform", "uniform", 0.4), limit(1.0)),
    ]
}

/// What misses its limit, as sentences.
fn missed(seen: &Seen, limit: &Limit) -> Vec<String> {
    let mut missed = Vec::new();
    if seen.ratio > limit.ratio {
        missed.push(format!(
            "costs {:.3} of the baseline, the limit is {}",
            seen.ratio, limit.ratio
        ));
    }
    if seen.lost + seen.doubled + seen.unknown > 0 {
        missed.push(format!(
            "{} lost, {} twice, {} never true",
            seen.lost, seen.doubled, seen.unknown
        ));
    }
    if seen.changed_later > seen.counted_revised {
        missed.push(format!(
            "{} changed later, {} counted",
            seen.changed_later, seen.counted_revised
        ));
    }
    if seen.count_off != 0 {
        missed.push(format!("the receiver's count of the bill is off by {}", seen.count_off));
    }
    if seen.throttles == 0 || seen.throttle_age_median_s > limit.age {
        missed.push(format!(
            "throttle points are {} s old in the median",
            seen.throttle_age_median_s
        ));
    }
    missed
}

struct Arguments {
    tables: usize,
    hours: i64,
    warm_up_h: i64,
    only: Vec<String>,
}

fn arguments() -> Result<Arguments> {
    let mut read = Arguments {
        tables: 100,
        hours: 7 * 24,
        warm_up_h: 0,
        only: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<i64> { Ok(words.next().unwrap_or_default().parse()?) };
        match word.as_str() {
            "--tables" => read.tables = usize::try_from(number()?)?,
            "--days" => read.hours = 24 * number()?,
            "--hours" => read.hours = number()?,
            "--warm-up" => read.warm_up_h = number()?,
            // Ten tables, a virtual day after warm-up.
            "--short" => (read.tables, read.hours, read.warm_up_h) = (10, 24, 4),
            // Cargo says so.
            "--bench" => {}
            name if !name.starts_with('-') => read.only.push(name.to_owned()),
            other => bail!("{other}: use [CASE...] --tables N --days N --hours N --warm-up HOURS --short"),
        }
    }
    Ok(read)
}

/// What the scale case may use: CPU for each series and poll, memory, requests per second (AWS allows 50).
const MOST_CPU_US: f64 = 25.0;
const MOST_RSS_MIB: u64 = 300;
const MOST_REQUESTS: f64 = 25.0;

/// `scale`: 10,000 tables, 650,000 series.
fn scale(tables: usize) -> Result<bool> {
    let seen = scale::run(tables, 75, 15)?;
    say(&serde_json::to_string(&seen)?);
    let mut good = true;
    for (is, most, what) in [
        (
            seen.cpu_us_per_series_poll,
            MOST_CPU_US,
            "us CPU for each series and poll",
        ),
        (seen.peak_rss_mib as f64, MOST_RSS_MIB as f64, "MiB of memory"),
        (seen.requests_per_second, MOST_REQUESTS, "requests per second"),
        (seen.throttled as f64, 0.0, "throttled calls"),
    ] {
        if is > most {
            good = false;
            say(&format!("scale: MISSED: {is:.1} {what}, the limit is {most}"));
        }
    }
    Ok(good)
}

fn bench() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The other process of `scale`.
        ["serve", tables] => return scale::serve(tables.parse()?).map(|()| true),
        ["scale"] => return scale(10_000),
        ["scale", "--tables", tables] => return scale(tables.parse()?),
        _ => {}
    }
    let arguments = arguments()?;
    let mut good = true;
    for (case, limit) in cases(arguments.tables, arguments.hours, arguments.warm_up_h) {
        let named = arguments.only.iter().any(|name| case.name.starts_with(name.as_str()));
        if !named && (!arguments.only.is_empty() || case.mode == "uniform") {
            continue;
        }
        let seen = run(&case)?;
        say(&serde_json::to_string(&seen)?);
        for sentence in missed(&seen, &limit) {
            good = false;
            say(&format!("{}: MISSED: {sentence}", case.name));
        }
    }
    Ok(good)
}

fn main() -> ExitCode {
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
