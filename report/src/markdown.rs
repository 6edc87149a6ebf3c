//! The decision for a pull request: the answer, the tables, what would change it.

use breakeven_planner::Plan;

use crate::view::{LEVEL_HEADS, View};

/// Renders the plan as GitHub-flavoured markdown.
pub fn render(plan: &Plan) -> String {
    let view = View::of(plan);
    let mut out = vec![format!("# {}: plan of {}", inline(&view.product), view.as_of), String::new()];
    out.push(format!("**{}**", inline(&view.headline)));
    out.push(String::new());
    row(&mut out, ["option", "USD/month", "USD/1,000 requests", "USD per successful outcome", "note"]);
    out.push("|---|---:|---:|---:|---|".to_owned());
    for option in &view.options {
        let name = if option.chosen { format!("**{}**", inline(&option.name)) } else { inline(&option.name) };
        row(
            &mut out,
            [
                &name,
                &option.per_month.text,
                &option.per_thousand.text,
                &option.per_success.text,
                &inline(&option.note),
            ],
        );
    }
    out.push(String::new());
    row(&mut out, LEVEL_HEADS);
    out.push("|---|---:|---:|---:|---:|---:|---:|---:|---|".to_owned());
    for level in &view.levels {
        row(&mut out, &level.cells);
    }
    out.push(String::new());
    out.push(inline(&view.traffic));
    out.push(String::new());
    out.push(inline(&view.fleet));
    for table in view.economics.iter().chain(&view.tables) {
        out.push(format!("\n## {}\n", inline(&table.title)));
        row(&mut out, table.heads.iter().map(|head| inline(head)));
        out.push(format!("|---{}|", "|---:".repeat(table.heads.len().saturating_sub(1))));
        for cells in &table.rows {
            row(&mut out, cells.iter().map(|cell| inline(&cell.text)));
        }
    }
    for (title, items) in [
        ("Not in the draws", &view.left_out),
        ("Break-even", &view.break_evens),
        ("What would change this", &view.would_change),
        ("Validity", &view.findings),
        ("Warnings", &view.warnings),
        ("Prices", &view.sources),
    ] {
        if !items.is_empty() {
            out.push(format!("\n## {title}\n"));
            out.extend(items.iter().map(|item| format!("- {}", inline(item))));
        }
    }
    out.push(format!("\n{} assumptions typed, {} defaults.\n", view.typed, view.defaults));
    out.join("\n")
}

pub(crate) fn row<T: AsRef<str>>(out: &mut Vec<String>, cells: impl IntoIterator<Item = T>) {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.as_ref().to_owned()).collect();
    out.push(format!("| {} |", cells.join(" | ")));
}

/// Text from a file as text: no markup, no table cells, no tags of its own.
pub(crate) fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => {
                out.push('\\');
                out.push(letter);
            }
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
