//! One JSON line a case while it runs, a table at the end, and an error when a limit was missed.

use anyhow::{Result, bail};

/// What a case showed.
pub struct Row {
    case: String,
    figures: Vec<(&'static str, f64)>,
    missed: Vec<String>,
}

impl Row {
    pub fn new(case: &str) -> Self {
        Self {
            case: case.to_owned(),
            figures: Vec::new(),
            missed: Vec::new(),
        }
    }

    pub fn figure(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.figures.push((name, value));
        self
    }

    /// A figure that must not be above `most`.
    pub fn limited(&mut self, name: &'static str, value: f64, most: f64, what: &str) -> &mut Self {
        self.figures.push((name, value));
        if value > most {
            self.missed
                .push(format!("{}: {what} is {value:.2}, the limit is {most}", self.case));
        }
        self
    }

    /// Something else that must not be.
    pub fn miss(&mut self, what: &str) {
        self.missed.push(format!("{}: {what}", self.case));
    }

    fn json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("case".to_owned(), self.case.clone().into());
        for (name, value) in &self.figures {
            // Four digits are more than any of these measurements has.
            object.insert((*name).to_owned(), ((value * 1e4).round() / 1e4).into());
        }
        object.insert("ok".to_owned(), self.missed.is_empty().into());
        serde_json::Value::Object(object).to_string()
    }
}

/// All cases.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        println!("{}", row.json());
        self.rows.push(row);
    }

    /// Prints the table.
    pub fn finish(self) -> Result<()> {
        println!();
        for row in &self.rows {
            let mut line = format!("{:<14}", row.case);
            for (name, value) in &row.figures {
                line.push_str(&format!(" {name} {value:.2} "));
            }
            println!("{line}{}", if row.missed.is_empty() { "" } else { " MISSED" });
        }
        let missed: Vec<String> = self.rows.into_iter().flat_map(|row| row.missed).collect();
        if missed.is_empty() {
            return Ok(());
        }
        bail!("{} of the limits were missed:\n  {}", missed.len(), missed.join("\n  "))
    }
}
