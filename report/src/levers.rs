//! Levers ranked by what they save, for a terminal or a pull request.

use std::fmt::Write as _;

use breakeven_hardware::Usd;
use breakeven_planner::levers::ranking::{Effect, Figures, OptionLevers, Ranking};

use crate::{
    format::{ABSENT, amount, money, percent, volume},
    markdown::inline,
    titled_table::TitledTable,
};

/// Lines of a bill that are named beside a lever; the JSON has them all.
const SHOWN_LINES: usize = 2;

/// For a terminal of `width` columns; the levers of `option`, of the first option where none is named.
pub fn text(ranking: &Ranking, option: Option<&str>, width: usize) -> String {
    let mut out = lead(ranking, shown(ranking, option)).join("\n");
    out.push('\n');
    for table in tables(ranking, shown(ranking, option)) {
        out.push_str(&table.text(width));
    }
    out.push('\n');
    for note in notes(ranking) {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// As GitHub-flavoured markdown.
pub fn markdown(ranking: &Ranking, option: Option<&str>) -> String {
    let mut out = vec![format!("# Levers of {}", inline(&ranking.product)), String::new()];
    out.extend(lead(ranking, shown(ranking, option)).iter().map(|line| format!("{}  ", inline(line))));
    for table in tables(ranking, shown(ranking, option)) {
        table.markdown(&mut out);
    }
    out.push(String::new());
    out.extend(notes(ranking).iter().map(|note| format!("- {}", inline(note))));
    out.join("\n")
}

fn shown<'a>(ranking: &'a Ranking, option: Option<&str>) -> Option<&'a OptionLevers> {
    match option {
        Some(id) => ranking.options.iter().find(|option| option.id == id || option.name == id),
        None => ranking.options.first(),
    }
}

/// The answer.
fn lead(ranking: &Ranking, option: Option<&OptionLevers>) -> Vec<String> {
    let mut lines = vec![format!(
        "{} on {}, {} requests a month: {} levers",
        ranking.product,
        ranking.as_of,
        volume(ranking.requests_per_month),
        ranking.levers.len()
    )];
    if let Some(best) = &ranking.best {
        let with = if best.levers.is_empty() { "no lever".to_owned() } else { best.levers.join(" + ") };
        lines.push(format!(
            "Cheapest: {} with {with}, {} per successful outcome",
            best.name,
            money(best.usd_per_successful_outcome)
        ));
    }
    match option {
        Some(OptionLevers { name, infeasible: Some(reason), .. }) => {
            lines.push(format!("{name} cannot be had with all levers off: {reason}"));
        }
        Some(OptionLevers { name, off: Some(off), best: Some(best), .. }) => {
            let saved = best.saved_usd_per_month;
            let share = percent(Some(saved.to_f64() / off.usd_per_month.to_f64()).filter(|s| s.is_finite()));
            lines.push(format!(
                "{name}: {} a month with all levers off, {} with the best combination: {} saved ({share}) at no fewer successes",
                money(off.usd_per_month),
                money(best.on.usd_per_month),
                money(saved)
            ));
        }
        _ => {}
    }
    lines
}

fn tables(ranking: &Ranking, option: Option<&OptionLevers>) -> Vec<TitledTable> {
    let mut all = Vec::new();
    if let Some(option) = option {
        if !option.single.is_empty() {
            all.push(effects(
                format!("{}: each lever alone, most money saved first", option.name),
                &option.single,
                option.off,
            ));
        }
        if !option.fewer_successes.is_empty() {
            all.push(effects(
                "Not at an unchanged success rate: fewer requests succeed, so nothing of it counts as saved"
                    .to_owned(),
                &option.fewer_successes,
                option.off,
            ));
        }
        if !option.not_comparable.is_empty() {
            all.push(TitledTable {
                title: "Not comparable".to_owned(),
                heads: vec!["lever", "USD/month", "why"],
                rows: option
                    .not_comparable
                    .iter()
                    .map(|effect| {
                        let usd = effect.on.map_or_else(|| ABSENT.to_owned(), |on| money(on.usd_per_month));
                        let why = effect.infeasible.clone();
                        let why = why.unwrap_or_else(|| "the option cannot be had without it".to_owned());
                        vec![effect.lever.clone(), usd, why]
                    })
                    .collect(),
                numbers: 1..2,
                after: Vec::new(),
            });
        }
        all.extend(combined(option));
    }
    all.push(every_option(ranking));
    all.push(TitledTable {
        title: "What each lever is".to_owned(),
        heads: vec!["lever", "changes", "own cost", "from"],
        rows: ranking
            .levers
            .iter()
            .map(|lever| {
                let mut own = Vec::new();
                if lever.usd_per_month > Usd::ZERO {
                    own.push(format!("{} a month", money(lever.usd_per_month)));
                }
                if lever.once_usd > Usd::ZERO {
                    own.push(format!("{} over {} months", money(lever.once_usd), amount(lever.life_months)));
                }
                let note = lever.note.clone().unwrap_or_else(|| "the file does not say".to_owned());
                vec![lever.name.clone(), lever.changes.join("; "), own.join(" + "), note]
            })
            .collect(),
        numbers: 0..0,
        after: Vec::new(),
    });
    all
}

fn effects(title: String, effects: &[Effect], off: Option<Figures>) -> TitledTable {
    let rows = effects.iter().map(|effect| {
        let per = |on: Figures| on.usd_per_successful_outcome.map_or_else(|| ABSENT.to_owned(), money);
        let points = effect.on.zip(off).map(|(on, off)| (on.success - off.success) * 100.0);
        let lines = effect.lines.iter().take(SHOWN_LINES);
        vec![
            effect.lever.clone(),
            effect.saved_usd_per_month.map_or_else(|| ABSENT.to_owned(), below_zero),
            effect.on.map_or_else(|| ABSENT.to_owned(), |on| money(on.usd_per_month)),
            effect.on.map_or_else(|| ABSENT.to_owned(), per),
            points.map_or_else(|| ABSENT.to_owned(), signed_points),
            effect
                .payback_months
                .map_or_else(|| ABSENT.to_owned(), |months| format!("{} months", amount(months))),
            lines
                .map(|line| format!("{} {}", line.line.label(), signed(line.b - line.a)))
                .collect::<Vec<_>>()
                .join(", "),
        ]
    });
    TitledTable {
        title,
        heads: vec!["lever", "saves a month", "USD/month", "USD/success", "success", "pays back in", "where"],
        rows: rows.collect(),
        numbers: 1..6,
        after: Vec::new(),
    }
}

fn combined(option: &OptionLevers) -> Option<TitledTable> {
    let best = option.best.as_ref()?;
    if best.levers.is_empty() {
        return None;
    }
    let rows = best.steps.iter().map(|step| {
        vec![step.lever.clone(), below_zero(step.saved_usd_per_month), money(step.usd_per_month)]
    });
    Some(TitledTable {
        title: "Together: the combination that saves most, switched on one after the other".to_owned(),
        heads: vec!["lever", "saves on top", "USD/month then"],
        rows: rows.collect(),
        numbers: 1..3,
        after: vec![format!(
            "together {} saved; each alone would add up to {}",
            money(best.saved_usd_per_month),
            money(best.sum_of_singles_usd_per_month)
        )],
    })
}

fn every_option(ranking: &Ranking) -> TitledTable {
    let rows = ranking.options.iter().map(|option| {
        let off = option.off.map_or_else(|| ABSENT.to_owned(), |off| money(off.usd_per_month));
        let best = option.best.as_ref();
        let of = |value: Option<Usd>| value.map_or_else(|| ABSENT.to_owned(), money);
        vec![
            option.name.clone(),
            off,
            of(best.map(|best| best.on.usd_per_month)),
            of(best.map(|best| best.saved_usd_per_month)),
            of(best.and_then(|best| best.on.usd_per_successful_outcome)),
            best.map_or_else(
                || option.infeasible.clone().unwrap_or_default(),
                |best| if best.levers.is_empty() { "none".to_owned() } else { best.levers.join(" + ") },
            ),
        ]
    });
    TitledTable {
        title: "Every option with its own best combination".to_owned(),
        heads: vec!["option", "all off", "best", "saved", "USD/success", "levers"],
        rows: rows.collect(),
        numbers: 1..5,
        after: Vec::new(),
    }
}

fn notes(ranking: &Ranking) -> Vec<String> {
    let search = &ranking.search;
    let mut notes = Vec::new();
    notes.push(if search.every_combination {
        format!("every combination was costed: {} settings", search.tried)
    } else {
        format!("{} settings were costed", search.tried)
    });
    for (a, b, place) in &search.alternatives {
        notes.push(format!("{a} and {b} are alternatives, for both set {place}: never on together"));
    }
    for (levers, why) in &search.refused {
        notes.push(format!("{} do not fit together: {why}", levers.join(" + ")));
    }
    notes.extend(ranking.notes.iter().cloned());
    notes
}

fn signed(usd: Usd) -> String {
    if usd < Usd::ZERO { below_zero(usd) } else { format!("+{}", money(usd)) }
}

/// An amount that may be below zero.
fn below_zero(usd: Usd) -> String {
    if usd < Usd::ZERO { format!("−{}", money(Usd::ZERO - usd)) } else { money(usd) }
}

fn signed_points(points: f64) -> String {
    let text = format!("{points:+.2}");
    format!("{} pt", if text == "-0.00" || text == "+0.00" { "0.00" } else { text.as_str() })
}
