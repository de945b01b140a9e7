//! Families of metrics, and their text in the two formats that Prometheus reads.
//!
//! This module knows no guard and no limit. Invariant: whatever a name or a value holds, each sample is one line.
//!
//! **Source.** Prometheus, "Exposition formats", text format 0.0.4; OpenMetrics 1.0, "Text format".

use std::borrow::Cow;
use std::fmt::Write;

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// OpenMetrics text, version 1.0.
    OpenMetrics,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows, until the process ends.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts by upper bound, with the sum of what was counted.
    Histogram,
}

/// The labels of a sample.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What follows the name of the family: `_bucket` of a histogram. The `_total` of a counter is not written here.
    pub suffix: &'static str,
    /// The labels.
    pub labels: Labels,
    /// The number.
    pub value: f64,
}

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name; that of a counter without `_total`.
    pub name: String,
    /// The type.
    pub kind: Kind,
    /// What it counts, in one line.
    pub help: String,
    /// The samples.
    pub samples: Vec<Sample>,
}

impl Kind {
    /// The name in both formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram].into_iter().find(|kind| kind.name() == name)
    }
}

impl Family {
    /// A family without samples.
    pub fn new(name: &str, kind: Kind, help: &str) -> Self {
        Self { name: name.into(), kind, help: help.into(), samples: Vec::new() }
    }

    /// Adds a sample.
    pub fn add(&mut self, labels: Labels, value: f64) {
        self.samples.push(Sample { suffix: "", labels, value });
    }
}

/// Joins families of the same name, in the order in which names come first. A format allows each name once.
pub fn joined(all: impl IntoIterator<Item = Family>) -> Vec<Family> {
    let mut joined: Vec<Family> = Vec::new();
    for family in all {
        match joined.iter_mut().find(|known| known.name == family.name) {
            Some(known) => known.samples.extend(family.samples),
            None => joined.push(family),
        }
    }
    joined
}

/// The number of series.
pub fn series(families: &[Family]) -> usize {
    families.iter().map(|family| family.samples.len()).sum()
}

/// Writes families as text.
pub fn render(families: &[Family], format: Format) -> String {
    let mut text = String::with_capacity(64 * series(families));
    for Family { name, kind, help, samples } in families {
        let total = if *kind == Kind::Counter { "_total" } else { "" };
        // OpenMetrics names a counter without its suffix, the older format with it.
        let named = if format == Format::OpenMetrics { "" } else { total };
        let _ = writeln!(text, "# HELP {name}{named} {}", escaped(help, format == Format::OpenMetrics));
        let _ = writeln!(text, "# TYPE {name}{named} {}", kind.name());
        for Sample { suffix, labels, value } in samples {
            let _ = write!(text, "{name}{total}{suffix}");
            for (place, (label, value)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{}\"", if place == 0 { '{' } else { ',' }, escaped(value, true));
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
    if format == Format::OpenMetrics {
        text += "# EOF\n";
    }
    text
}

/// Escapes backslashes and ends of lines, and quotes where the format asks for it.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\\' => escaped += "\\\\",
            '\n' => escaped += "\\n",
            '"' if quotes => escaped += "\\\"",
            other => escaped.push(other),
        }
    }
    escaped
}
