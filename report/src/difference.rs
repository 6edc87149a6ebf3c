//! Two plans side by side for a terminal or a pull request.

use std::fmt::Write as _;

use breakeven_hardware::Usd;
use breakeven_planner::diff::PlanDiff;

use crate::{
    format::{ABSENT, money},
    table::text_table,
};

/// What changed, the answer first; `threshold` is the rise of the cost per success that fails.
pub fn text(found: &PlanDiff, threshold: f64) -> String {
    let mut out = String::new();
    let name = |choice: &Option<String>| choice.clone().unwrap_or_else(|| "nothing can be had".to_owned());
    let per = |usd: Option<Usd>| usd.map_or_else(|| ABSENT.to_owned(), money);
    let (a, b) = found.per_success;
    let change = found.change.map_or_else(String::new, |change| format!(" ({:+.1} %)", change * 100.0));
    let choice = if found.choice.0 == found.choice.1 {
        format!("the choice stays {}", name(&found.choice.1))
    } else {
        format!("the choice was {}, is {}", name(&found.choice.0), name(&found.choice.1))
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{choice}; a success cost {}, costs {}{change}", per(a), per(b));
    if found.fails(threshold) {
        let _ = writeln!(out, "over the threshold of {:.1} %", threshold * 100.0);
    }
    if found.options.is_empty() && found.causes.is_empty() {
        out.push_str("nothing differs\n");
        return out;
    }
    let bill = |usd: Option<Usd>| usd.map_or_else(|| "cannot be had".to_owned(), money);
    let mut rows = Vec::new();
    for option in &found.options {
        let difference = option.a.zip(option.b).map_or_else(|| ABSENT.to_owned(), |(a, b)| signed(b - a));
        rows.push(vec![option.name.clone(), bill(option.a), bill(option.b), difference]);
        if option.a.is_some() && option.b.is_some() {
            rows.extend(option.lines.iter().map(|line| {
                let label = format!("  {}", line.line.label());
                vec![label, money(line.a), money(line.b), signed(line.b - line.a)]
            }));
        }
    }
    if !rows.is_empty() {
        let _ = writeln!(
            out,
            "\nBills, USD a month\n{}",
            text_table(&["", "before", "after", "change"], rows, 1..4, None)
        );
    }
    if !found.causes.is_empty() {
        let value = |text: &Option<String>| text.clone().unwrap_or_else(|| ABSENT.to_owned());
        let rows = found.causes.iter().map(|c| vec![c.what.clone(), value(&c.a), value(&c.b)]);
        let _ = write!(out, "Why\n{}", text_table(&["", "before", "after"], rows, 0..0, None));
    }
    out
}

fn signed(usd: Usd) -> String {
    if usd < Usd::ZERO { format!("−{}", money(Usd::ZERO - usd)) } else { format!("+{}", money(usd)) }
}
