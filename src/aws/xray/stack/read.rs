//! Stack traces as languages write them, told apart by the shape of their lines.
//!
//! Ours is Java's (`\tat label(path:line)`). What no shape fits is left out of the frames: the text as a whole is kept
//! elsewhere by whoever needs it.

use super::{Frame, UNKNOWN};

/// Frames of one exception that are read; more than anybody looks at.
const MOST_FRAMES: usize = 1000;

/// The frames of a trace, the innermost first. `head` is the text that [`super::write`] would begin it with.
pub fn read<'a>(text: &'a str, head: &str) -> Vec<Frame<'a>> {
    // A message may look like a frame: what is known of it is not read.
    let body = text.strip_prefix(head).unwrap_or(text);
    let lines = body.lines();
    if body.contains("Traceback (most recent call last)") || body.trim_start().starts_with("File \"") {
        return python(body);
    }
    if body.contains("\ngoroutine ") || text.starts_with("goroutine ") {
        return go(body);
    }
    let frame = |line: &'a str| {
        java(line)
            .or_else(|| dotnet(line))
            .or_else(|| javascript(line))
            .or_else(|| php(line))
            .or_else(|| ruby(line))
    };
    lines.filter_map(frame).take(MOST_FRAMES).collect()
}

/// `path:12` or `path:<unknown>`, or a path alone.
fn path_and_line(place: &str) -> (Option<&str>, Option<i64>) {
    let known = |path: &'_ str| !path.is_empty() && path != UNKNOWN;
    match place.rsplit_once(':') {
        Some((path, line)) => {
            let line = line.trim();
            match line.parse() {
                Ok(number) => (Some(path).filter(|path| known(path)), Some(number)),
                Err(_) if line == UNKNOWN => (Some(path).filter(|path| known(path)), None),
                Err(_) => (Some(place).filter(|path| known(path)), None),
            }
        }
        None => (Some(place).filter(|path| known(path)), None),
    }
}

/// `\tat app//com.example.Main.run(Main.java:12)`; the class loader's prefix is kept.
fn java(line: &str) -> Option<Frame<'_>> {
    let frame = line.trim_start().strip_prefix("at ")?;
    // JavaScript's has a space before the bracket, .NET's goes on behind it.
    let inside = frame.trim_end().strip_suffix(')')?;
    let (label, place) = inside.rsplit_once('(')?;
    if label.ends_with(' ')
        || place.matches(':').count() > 1 && place.rsplit(':').take(2).all(|part| part.parse::<u32>().is_ok())
    {
        return None;
    }
    let (path, line) = path_and_line(place);
    Some(Frame {
        path,
        line,
        label: Some(label).filter(|label| !label.is_empty() && *label != UNKNOWN),
    })
}

/// `   at Namespace.Type.Method(String x) in /src/file.cs:line 12`
fn dotnet(line: &str) -> Option<Frame<'_>> {
    let frame = line.trim_start().strip_prefix("at ")?;
    let (label, place) = frame.split_once(" in ")?;
    let (path, line) = place.rsplit_once(":line ")?;
    Some(Frame {
        path: Some(path),
        line: line.trim().parse().ok(),
        label: Some(label),
    })
}

/// `    at label (path:12:3)` or `    at path:12:3`
fn javascript(line: &str) -> Option<Frame<'_>> {
    let frame = line.trim_start().strip_prefix("at ")?.trim_end();
    let (label, place) = match frame.strip_suffix(')').and_then(|frame| frame.rsplit_once('(')) {
        Some((label, place)) => (Some(label.trim_end()), place),
        None => (None, frame),
    };
    let (before, column) = place.rsplit_once(':').unwrap_or((place, ""));
    // Line and column; a place without them is a path (`native`, `<anonymous>`).
    let place = if column.parse::<u32>().is_ok() && before.contains(':') {
        before
    } else {
        place
    };
    let (path, line) = path_and_line(place);
    Some(Frame {
        path,
        line,
        label: label.filter(|label| !label.is_empty()),
    })
}

/// `#0 /src/file.php(12): Class->method()`
fn php(line: &str) -> Option<Frame<'_>> {
    let frame = line.trim_start().strip_prefix('#')?;
    let (_, frame) = frame.split_once(' ')?;
    let (place, label) = frame.split_once(": ")?;
    let (path, line) = place.strip_suffix(')')?.rsplit_once('(')?;
    Some(Frame {
        path: Some(path),
        line: line.parse().ok(),
        label: Some(label),
    })
}

/// `\tfrom /src/file.rb:12:in 'method'` (or with a back quote).
fn ruby(line: &str) -> Option<Frame<'_>> {
    let frame = line.trim();
    let frame = frame.strip_prefix("from ").unwrap_or(frame);
    let (place, label) = frame.split_once(":in ")?;
    let (path, line) = place.rsplit_once(':')?;
    let label = label.trim_start_matches(['`', '\'']);
    let label = label.split_once('\'').map_or(label, |(label, _)| label);
    Some(Frame {
        path: Some(path),
        line: Some(line.parse().ok()?),
        label: Some(label),
    })
}

/// `  File "path", line 12, in label`; the innermost is last there.
fn python(text: &str) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix("File \"") else {
            continue;
        };
        let Some((path, rest)) = rest.split_once("\", line ") else {
            continue;
        };
        let (line, label) = rest.split_once(", in ").unwrap_or((rest, ""));
        frames.push(Frame {
            path: Some(path),
            line: line.trim().parse().ok(),
            label: Some(label.trim_end()).filter(|label| !label.is_empty()),
        });
    }
    frames.reverse();
    frames.truncate(MOST_FRAMES);
    frames
}

/// `package.function(...)`, and below it `\t/src/file.go:12 +0x1d`
fn go(text: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut label = None;
    for line in text.lines() {
        let Some(place) = line.strip_prefix('\t') else {
            label = Some(line).filter(|line| line.contains('(') || line.starts_with("created by "));
            continue;
        };
        let place = place.split_once(" +0x").map_or(place, |(place, _)| place);
        if let Some(label) = label.take() {
            let (path, line) = path_and_line(place);
            let label = match label.rsplit_once('(') {
                Some((name, _)) if label.ends_with(')') => name,
                _ => label,
            };
            frames.push(Frame {
                path,
                line,
                label: Some(label),
            });
        }
    }
    frames.truncate(MOST_FRAMES);
    frames
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{head, write};
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |frame: Frame| {
            let line = frame.line.map_or("?".to_owned(), |line| line.to_string());
            format!("{} {} {line}", frame.label.unwrap_or("?"), frame.path.unwrap_or("?"))
        };
        read(text, "").into_iter().map(show).collect()
    }

    #[test]
    fn every_language_is_known_by_the_shape_of_its_lines() {
        let java = "java.lang.IllegalStateException: bad\n\tat app//com.example.Main.run(Main.java:12)\n\tat java.base/x.Y.z(Native Method)\nCaused by: x\n\t... 12 more";
        assert_eq!(
            shown(java),
            [
                "app//com.example.Main.run Main.java 12",
                "java.base/x.Y.z Native Method ?"
            ]
        );
        let python = "Traceback (most recent call last):\n  File \"/app/a.py\", line 3, in main\n    run()\n  File \"/app/b.py\", line 7, in run\n    raise ValueError\nValueError";
        assert_eq!(shown(python), ["run /app/b.py 7", "main /app/a.py 3"]);
        let javascript = "Error: x\n    at Object.run (/app/a.js:3:9)\n    at /app/b.js:7:1\n    at async main (node:internal/x:5:2)";
        assert_eq!(
            shown(javascript),
            [
                "Object.run /app/a.js 3",
                "? /app/b.js 7",
                "async main node:internal/x 5"
            ]
        );
        let dotnet = "System.Exception: x\n   at Shop.Cart.Add(String id) in /src/Cart.cs:line 12";
        assert_eq!(shown(dotnet), ["Shop.Cart.Add(String id) /src/Cart.cs 12"]);
        let go =
            "goroutine 1 [running]:\nmain.run(0x1, 0x2)\n\t/src/main.go:12 +0x1d\nmain.main()\n\t/src/main.go:5 +0x20";
        assert_eq!(shown(go), ["main.run /src/main.go 12", "main.main /src/main.go 5"]);
        let php = "#0 /src/a.php(12): Cart->add()\n#1 {main}";
        assert_eq!(shown(php), ["Cart->add() /src/a.php 12"]);
        let ruby = "/src/a.rb:12:in `add': x (RuntimeError)\n\tfrom /src/b.rb:3:in `<main>'";
        assert_eq!(shown(ruby), ["add /src/a.rb 12", "<main> /src/b.rb 3"]);
    }

    #[test]
    fn a_frame_that_would_look_like_another_languages_is_known_not_to_read_back() {
        let frame = |path| Frame {
            path: Some(path),
            line: Some(0),
            label: Some("A"),
        };
        assert!(!frame(":0").reads_back());
        assert!(!frame("a(b").reads_back());
        assert!(frame("Main.java").reads_back());
    }

    proptest! {
        #[test]
        fn no_text_stops_the_reader(text in "[ -~\t\n]{0,200}") {
            read(&text, "");
        }

        #[test]
        fn what_is_written_is_read_back(
            kind in "[A-Za-z.]{0,20}",
            message in "[ -~\n]{0,40}",
            frames in proptest::collection::vec(("[!-~ ]{0,20}", proptest::option::of(0i64..100_000), "[!-~ ]{0,20}"), 0..6),
        ) {
            let frames: Vec<Frame> = frames
                .iter()
                .map(|(path, line, label)| Frame { path: Some(path), line: *line, label: Some(label) })
                .collect();
            if frames.iter().all(Frame::reads_back) {
                let text = write(&kind, &message, &frames, false);
                prop_assert_eq!(read(&text, &head(&kind, &message)), frames);
            }
        }
    }
}
