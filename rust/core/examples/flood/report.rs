//! The rows, for people and for the picture.

use crate::run::Row;

pub(crate) type Rows = Vec<(u64, String, Row)>;

pub(crate) fn table(rows: &[(u64, String, Row)]) {
    println!(
        "F M/min  design                    conforming refused %   150/min: minutes  the last  worst window  \
         \x20above the limit"
    );
    for (millions, name, row) in rows {
        let minutes = row.greedy.map(|count| count.to_string()).join(" ");
        println!(
            "{millions:7}  {name:24}  {:20.5}   {minutes:>16}  {:8}  {:12}   {:15}",
            row.refused_percent(),
            row.admitted_a_minute(),
            row.worst_window,
            row.excess
        );
    }
}

pub(crate) fn json(rows: &[(u64, String, Row)], scale: u64) -> String {
    let line = |(millions, name, row): &(u64, String, Row)| {
        format!(
            "{{\"scale\": {scale}, \"unique_millions_a_minute\": {millions}, \"design\": \"{name}\", \
             \"conforming\": {}, \"refused\": {}, \"admitted_of_150\": {:?}, \
             \"worst_window\": {}, \"above_the_limit\": {}}}",
            row.conforming, row.refused, row.greedy, row.worst_window, row.excess
        )
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
