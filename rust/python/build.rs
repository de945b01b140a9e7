//! Makes the macro `doc!` from the stub `_core.pyi`, so that `help()` shows the docstrings that editors and the
//! documentation show. The stub is their only source: a name that it lacks does not compile.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

const STUB: &str = "../../python/throttle/_core.pyi";

fn main() {
    println!("cargo::rerun-if-changed={STUB}");
    let stub = fs::read_to_string(STUB).unwrap_or_else(|error| panic!("{STUB}: {error}"));
    let arms = docstrings(&stub).into_iter().fold(String::new(), |mut arms, (name, text)| {
        let _ = writeln!(arms, "    ({name:?}) => {{ {text:?} }};");
        arms
    });
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("docs.rs"), format!("macro_rules! doc {{\n{arms}}}\n")).expect("a written file");
}

/// The docstrings of classes and of their members, by name: `Throttle` and `Throttle.check`.
fn docstrings(stub: &str) -> Vec<(String, String)> {
    let (mut class, mut name, mut found) = (String::new(), String::new(), Vec::new());
    let mut lines = stub.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(text) = code.strip_prefix("\"\"\"") {
            let text = docstring(text, indent, &mut lines);
            if !name.is_empty() {
                found.push((std::mem::take(&mut name), text));
            }
        } else if let Some(named) = code.strip_prefix("class ") {
            class = word(named).to_owned();
            name.clone_from(&class);
        } else if let (4, Some(member)) = (indent, code.strip_prefix("def ").or(attribute(code))) {
            name = format!("{class}.{}", word(member));
        }
    }
    found
}

/// The text from `first` on, the rest of its opening line, without the margin of the lines that follow.
fn docstring<'s>(first: &'s str, indent: usize, lines: &mut impl Iterator<Item = &'s str>) -> String {
    let mut text = String::new();
    let mut rest = first;
    loop {
        let end = rest.strip_suffix("\"\"\"");
        text.push_str(end.unwrap_or(rest));
        if end.is_some() {
            return text.trim_end().to_owned();
        }
        text.push('\n');
        let line = lines.next().expect("a docstring that ends");
        rest = line.get(indent..).unwrap_or("");
    }
}

/// The line of an attribute: `mode: Mode`.
fn attribute(code: &str) -> Option<&str> {
    code[word(code).len()..].starts_with(": ").then_some(code)
}

/// The identifier that `text` begins with.
fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}
