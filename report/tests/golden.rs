//! Terminal and markdown output, letter for letter.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse is a failed test")]

mod support;

#[test]
fn terminal_at_100_columns() {
    insta::assert_snapshot!(breakeven_report::terminal::render(&support::plan(), 100, false));
}

fn fits(width: usize) -> String {
    let text = breakeven_report::terminal::render(&support::plan(), width, false);
    for line in text.lines() {
        assert!(line.chars().count() <= width, "{line}");
    }
    text
}

#[test]
fn terminal_at_60_columns() {
    insta::assert_snapshot!(fits(60));
}

#[test]
fn terminal_at_80_columns() {
    insta::assert_snapshot!(fits(80));
}

#[test]
fn terminal_at_200_columns() {
    insta::assert_snapshot!(fits(200));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let plan = support::plan();
    let mut bare = breakeven_report::terminal::render(&plan, 100, true);
    assert!(bare.contains("\x1b["));
    for code in ["\x1b[1;32m", "\x1b[1m", "\x1b[33m", "\x1b[2m", "\x1b[0m"] {
        bare = bare.replace(code, "");
    }
    assert_eq!(bare, breakeven_report::terminal::render(&plan, 100, false));
}

#[test]
fn names_cannot_drive_the_terminal() {
    let mut plan = support::plan();
    plan.product = "\x1b[2Jgone".to_owned();
    plan.decision.headline = "\x1b]0;title\x07 headline".to_owned();
    for option in &mut plan.options {
        option.name = "\x1b[31mred".to_owned();
    }
    plan.measured.model = "\x1b[31mred".to_owned();
    assert!(!breakeven_report::terminal::render(&plan, 100, false).contains('\x1b'));
}

#[test]
fn markdown() {
    insta::assert_snapshot!(breakeven_report::markdown::render(&support::plan()));
}

#[test]
fn markdown_names_stay_text() {
    let mut plan = support::plan();
    plan.product = "<script>|x".to_owned();
    let text = breakeven_report::markdown::render(&plan);
    assert!(text.contains("&lt;script>\\|x"));
    assert!(!text.contains("<script"));
}
