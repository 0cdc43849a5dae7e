use std::sync::Arc;

use super::text::Style;
use super::*;
use crate::dev::seen::{ExceptionSeen, ServiceSeen, TokensSeen};

const T: u64 = 1_800_000_000 * 1_000_000_000;

fn service(name: &str) -> Arc<ServiceSeen> {
    Arc::new(ServiceSeen {
        name: name.into(),
        is_named: true,
        ..ServiceSeen::default()
    })
}

struct Made {
    spans: Vec<SpanSeen>,
}

impl Made {
    fn span(&mut self, id: u8, parent: u8, who: &str, name: &str, ms: (u64, u64)) -> &mut SpanSeen {
        self.spans.push(SpanSeen {
            trace: [0xa4; 16],
            span: [id; 8],
            parent: (parent > 0).then_some([parent; 8]),
            service: service(who),
            name: name.to_owned(),
            kind: 3,
            is_error: false,
            status_message: String::new(),
            start: T + ms.0 * MS,
            end: T + ms.1 * MS,
            http_status: None,
            http_path: None,
            statement: None,
            exception: None,
            tokens: None,
            links: 0,
            left_out: 0,
        });
        self.spans.last_mut().unwrap()
    }
}

/// The trace that the documentation draws.
fn quote() -> Vec<SpanSeen> {
    let mut made = Made { spans: Vec::new() };
    let root = made.span(1, 0, "web", "GET /quote", (0, 212));
    root.http_status = Some(502);
    root.is_error = true;
    root.kind = 2;
    for call in 0..6 {
        let span = made.span(
            10 + call,
            1,
            "pricing",
            "SELECT rate",
            (10 + u64::from(call) * 12, 22 + u64::from(call) * 12),
        );
        span.statement = Some("SELECT rate FROM rates WHERE id = ?".to_owned());
    }
    let failed = made.span(30, 1, "fx", "GET /rates", (90, 210));
    failed.exception = Some(ExceptionSeen {
        kind: "TimeoutError".to_owned(),
        message: "100ms".to_owned(),
        place: Some("fx/client.py:88".to_owned()),
    });
    let model = made.span(40, 1, "llm", "chat small-model", (12, 27));
    model.tokens = Some(TokensSeen { input: 310, output: 55 });
    made.spans
}

fn view(redraws: bool, is_ascii: bool) -> View {
    View::new(Options {
        mode: Mode::Tree,
        shows_health: false,
        redraws,
        paper: Paper {
            style: Style {
                is_ascii,
                is_coloured: false,
            },
            width: 110,
            zone: jiff::tz::TimeZone::UTC,
        },
        run: None,
    })
}

fn lines(blocks: &[Block]) -> Vec<String> {
    blocks.iter().flat_map(|block| block.lines.clone()).collect()
}

fn send(view: &mut View, spans: Vec<SpanSeen>, at: u64) -> Vec<String> {
    let mut blocks = Vec::new();
    for span in spans {
        view.take_span(span, at, &mut blocks);
    }
    let open = view.open.clone();
    for id in open {
        view.show_head(&id, &mut blocks);
    }
    lines(&blocks)
}

#[test]
fn the_root_shows_at_once_and_the_tree_when_it_is_quiet() {
    let mut view = view(false, true);
    let mut spans = quote();
    let rest = spans.split_off(1);
    let head = send(&mut view, spans, T);
    assert_eq!(head.len(), 1);
    assert!(
        head[0].contains("GET /quote  502  212ms") && head[0].ends_with("a4a4a4a4"),
        "{head:?}"
    );
    assert_eq!(send(&mut view, rest, T + 50 * MS), Vec::<String>::new());
    assert_eq!(view.tick(UnixNanos(T + 300 * MS)), []);
    let text = lines(&view.tick(UnixNanos(T + 351 * MS))).join("\n");
    let expected = "\
08:00:00.000  GET /quote  502  212ms  web > pricing > llm > fx  9 spans 1 err  a4a4a4a4
  web       GET /quote                                 212ms |====================| x 502
  + pricing SELECT rate x6                              72ms |======= | ! N+1: one statement 6 times";
    for line in expected.lines() {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed(&text).contains(squeezed(line).split(" |=").next().unwrap()),
            "{line}\n{text}"
        );
    }
    assert!(text.contains("x TimeoutError: 100ms  fx/client.py:88"), "{text}");
    assert!(text.contains("310>55 tok"), "{text}");
    assert!(text.lines().all(|line| text::width(line) <= 110), "{text}");
}

#[test]
fn a_terminal_has_its_head_drawn_anew_while_it_is_the_last_line() {
    let mut view = view(true, false);
    let mut spans = quote();
    let rest = spans.split_off(1);
    send(&mut view, spans, T);
    send(&mut view, rest, T);
    let blocks = view.tick(UnixNanos(T + 400 * MS));
    assert!(
        blocks[0].replaces_last && blocks[0].lines[0].contains("9 spans 1 err"),
        "{blocks:?}"
    );
    assert!(
        !blocks[1].replaces_last && blocks[1].lines[1].contains("├ pricing"),
        "{blocks:?}"
    );
    assert!(blocks[1].lines.last().unwrap().contains("└ fx"), "{blocks:?}");
}

#[test]
fn late_spans_are_an_addendum_and_a_restless_trace_is_drawn_after_two_seconds() {
    let mut view = view(false, true);
    send(&mut view, quote(), T);
    for step in 1..8_u64 {
        let mut span = quote().remove(1);
        span.span = [90 + step as u8; 8];
        send(&mut view, vec![span], T + step * 250 * MS);
        assert_eq!(view.tick(UnixNanos(T + step * 250 * MS + MS)), []);
    }
    let drawn = lines(&view.tick(UnixNanos(T + 2_001 * MS)));
    assert!(drawn.iter().any(|line| line.contains("x13")), "{drawn:?}");
    let mut two = quote();
    two.truncate(2);
    send(&mut view, two, T + 3_000 * MS);
    let late = lines(&view.tick(UnixNanos(T + 3_400 * MS)));
    assert_eq!(late.len(), 1);
    assert!(late[0].ends_with("+2 spans a4a4a4a4 (late)"), "{late:?}");
}

#[test]
fn health_checks_are_hidden_and_counted_and_escapes_are_harmless() {
    let mut view = view(false, true);
    let mut made = Made { spans: Vec::new() };
    made.span(1, 0, "web", "GET /healthz", (0, 1));
    assert_eq!(send(&mut view, made.spans, T), Vec::<String>::new());
    assert_eq!(lines(&view.tick(UnixNanos(T + 400 * MS))), ["(1 health check hidden)"]);

    let mut made = Made { spans: Vec::new() };
    made.span(1, 0, "web", "\x1b[31mred\n\x07", (0, 1)).trace = [7; 16];
    let head = send(&mut view, made.spans, T);
    assert!(!head[0].contains('\x1b') && head[0].contains("[31mred"), "{head:?}");
}

#[test]
fn cycles_and_missing_parents_are_drawn_once() {
    let mut made = Made { spans: Vec::new() };
    made.span(1, 2, "a", "one", (0, 1));
    made.span(2, 1, "a", "two", (0, 1));
    made.span(3, 9, "b", "orphan", (0, 1));
    made.span(4, 4, "c", "its own parent", (0, 1));
    let rows = tree::rows(&made.spans);
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().any(|row| row.span.name == "orphan" && row.is_orphan));
}

#[test]
fn only_the_run_is_shown_and_memory_is_bounded() {
    let mut view = view(false, true);
    view.options.run = Some("r-1".to_owned());
    assert_eq!(send(&mut view, quote(), T), Vec::<String>::new());
    view.options.run = None;
    for number in 0..(MOST_TRACES as u64 + 50) {
        let mut made = Made { spans: Vec::new() };
        let mut id = [1; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        made.span(1, 0, "web", "GET /", (0, 1)).trace = id;
        send(&mut view, made.spans, T);
    }
    assert_eq!(view.traces.len(), MOST_TRACES);
    assert_eq!(view.order.len(), MOST_TRACES);
}

#[test]
fn a_terminal_that_is_slow_skips_and_says_how_many() {
    use std::io::Write;
    use std::sync::{Condvar, Mutex};

    type Gate = (Mutex<(bool, Vec<u8>)>, Condvar);

    /// Takes the first write only when it is told to.
    struct Stuck(Arc<Gate>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut state = self.0.0.lock().unwrap();
            while !state.0 {
                state = self.0.1.wait(state).unwrap();
            }
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let shared = Arc::new((Mutex::new((false, Vec::new())), Condvar::new()));
    let screen = Screen::to(Box::new(Stuck(Arc::clone(&shared))));
    for number in 0..1_000 {
        screen.say(vec![format!("line {number}")]);
    }
    shared.0.lock().unwrap().0 = true;
    shared.1.notify_all();
    screen.finish();
    let text = String::from_utf8(shared.0.lock().unwrap().1.clone()).unwrap();
    let written = text.lines().filter(|line| line.starts_with("line ")).count();
    let skipped: usize = text
        .lines()
        .filter_map(|line| line.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(written + skipped, 1_000, "{text}");
    assert!(skipped >= 700, "{skipped}");
}
