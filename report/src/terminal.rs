//! The decision on one terminal screen: the answer first, then the tables behind it.

use breakeven_planner::Plan;
use comfy_table::Table;

use crate::economics::UNITS;
use crate::table::{align_right, new_table};
use crate::{
    sureness::TableView,
    view::{LEVEL_HEADS, OptionView, View},
};

/// Narrower than this, tables stop being tables.
const MIN_WIDTH: usize = 48;
/// From here on the notes stand beside the options, below it under the table.
const NOTES_BESIDE: usize = 88;
/// Columns that a note needs beside the options.
const NOTE_ROOM: usize = 34;
/// Blanks around a cell and the gap to the next.
const PADDING: usize = 3;
/// Tables of more columns are left to reports that have the room.
const WIDEST: usize = 6;
/// Options beside one another in a table of figures.
const SIDE_BY_SIDE: usize = 3;
/// Assumptions a short report names; the rest are counted.
const ASSUMPTIONS_SHOWN: usize = 5;

/// Renders the plan for a terminal `width` columns wide, with ANSI colour where asked.
pub fn render(plan: &Plan, width: usize, color: bool) -> String {
    let view = View::of(plan);
    let mut page = Page { out: String::new(), width: width.max(MIN_WIDTH), color };
    page.line(&format!("{} — plan of {}", plain(&view.product), view.as_of), Style::Dim);
    page.wrapped(&view.headline, "", Style::Answer);

    page.facts(&view.at_a_glance);

    page.section("Options, cheapest per successful outcome first");
    let (table, notes_beside) = decision_table(&view.options, page.width);
    page.table(table);
    if !notes_beside {
        for option in view.options.iter().filter(|option| !option.note.is_empty()) {
            page.wrapped(&format!("{}: {}", option.name, option.note), "  - ", Style::Plain);
        }
    }
    page.section("Measured");
    for (name, value) in &view.measured {
        page.wrapped(&format!("{name}: {value}"), "  ", Style::Plain);
    }
    page.table(level_table(&view, page.width));
    for finding in &view.findings {
        page.wrapped(finding, "  - ", Style::Plain);
    }
    page.section("Fleet");
    page.wrapped(&view.traffic, "  ", Style::Plain);
    page.wrapped(&view.fleet, "  ", Style::Plain);
    page.list("Break-even", &view.break_evens, Style::Plain);
    if view.would_change.len() > crate::view::GLANCE {
        page.list(
            "What else would change this",
            view.would_change.get(crate::view::GLANCE..).unwrap_or_default(),
            Style::Plain,
        );
    }
    for table in &view.economics {
        page.section(&table.title);
        if table.title == UNITS {
            page.options_table(table);
        } else {
            page.text_table(table);
        }
    }
    let (wide, narrow): (Vec<_>, Vec<_>) = view.tables.iter().partition(|table| table.heads.len() > WIDEST);
    for table in narrow {
        page.section(&table.title);
        page.text_table(table);
    }
    for table in wide {
        page.section(&table.title);
        page.line("  in the HTML and markdown reports", Style::Dim);
    }
    page.list("Not in the draws", &view.left_out, Style::Plain);
    for option in view.billed() {
        page.bill(option);
    }
    page.assumptions(&view);
    page.list("Warnings", &view.warnings, Style::Warning);
    page.list("Prices", &view.sources, Style::Plain);
    page.out
}

/// The options, and whether their notes stand beside them: where names and amounts leave room for a sentence.
fn decision_table(options: &[OptionView], width: usize) -> (Table, bool) {
    let heads = ["option", "USD/month", "USD/1,000 req", "USD/success"];
    let widest = |head: &str, cells: &mut dyn Iterator<Item = usize>| {
        cells.chain(std::iter::once(head.chars().count())).max().unwrap_or(0) + PADDING
    };
    let [_, month, thousand, success] = heads;
    let amounts = widest(month, &mut options.iter().map(|option| option.per_month.text.chars().count()))
        + widest(thousand, &mut options.iter().map(|option| option.per_thousand.text.chars().count()))
        + widest(success, &mut options.iter().map(|option| option.per_success.text.chars().count()));
    // The mark and the padding of the first column.
    let room = width.saturating_sub(amounts + PADDING + 2);
    let names = width.saturating_sub(amounts + PADDING + 2 + NOTE_ROOM);
    let beside = width >= NOTES_BESIDE && shortened(options, names).iter().all(|name| !name.ends_with('…'));
    let names = shortened(options, if beside { names } else { room });
    let mut table = new_table();
    let mut row = heads.to_vec();
    if beside {
        row.push("note");
    }
    table.set_header(row);
    for (option, name) in options.iter().zip(names) {
        let mark = if option.chosen { "> " } else { "  " };
        let mut cells = vec![
            format!("{mark}{name}"),
            option.per_month.text.clone(),
            option.per_thousand.text.clone(),
            option.per_success.text.clone(),
        ];
        if beside {
            cells.push(plain(&option.note));
        }
        table.add_row(cells);
    }
    align_right(&mut table, 0..4);
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    (table, beside)
}

/// A row's label and a few of its cells, from one of them on.
fn beside<T: Clone + Default>(cells: &[T], first: usize) -> Vec<T> {
    let label = cells.first().cloned().unwrap_or_default();
    std::iter::once(label).chain(cells.iter().skip(first).take(SIDE_BY_SIDE).cloned()).collect()
}

/// Names no longer than `room`: without the leading parts of a path where that tells them apart, else cut.
fn shortened(options: &[OptionView], room: usize) -> Vec<String> {
    let short: Vec<String> = options
        .iter()
        .map(|option| {
            let full = plain(&option.name);
            let mut name = full.as_str();
            while name.chars().count() > room
                && let Some((_, rest)) = name.split_once(['/', ' '])
                && !rest.is_empty()
            {
                name = rest;
            }
            name.to_owned()
        })
        .collect();
    let full = |index: usize| options.get(index).map(|option| plain(&option.name)).unwrap_or_default();
    let names = short.iter().enumerate().map(|(index, name)| {
        let twice = short.iter().filter(|other| *other == name).count() > 1;
        let name = if twice { full(index) } else { name.clone() };
        if name.chars().count() <= room {
            return name;
        }
        let kept: String = name.chars().take(room.max(2) - 1).collect();
        format!("{kept}…")
    });
    names.collect()
}

/// One row a level; one column a level where that is too wide.
fn level_table(view: &View, width: usize) -> Table {
    let mut table = new_table();
    table.set_header(LEVEL_HEADS.to_vec());
    for level in &view.levels {
        table.add_row(level.cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>());
    }
    align_right(&mut table, 1..8);
    let natural: usize =
        table.column_max_content_widths().iter().map(|column| usize::from(*column) + PADDING).sum();
    if natural <= width {
        return table;
    }
    let mut table = new_table();
    for (index, head) in LEVEL_HEADS.iter().enumerate() {
        let values = view
            .levels
            .iter()
            .map(|level| level.cells.get(index).map(|cell| cell.text.clone()).unwrap_or_default());
        let cells: Vec<String> = std::iter::once((*head).to_owned()).chain(values).collect();
        if index == 0 {
            table.set_header(cells);
        } else {
            table.add_row(cells);
        }
    }
    align_right(&mut table, 1..view.levels.len() + 1);
    table
}

/// Text from files without control characters: a product's name must not drive the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
enum Style {
    Plain,
    Answer,
    Heading,
    Warning,
    Dim,
}

/// The screen being written.
#[derive(Debug)]
struct Page {
    out: String,
    width: usize,
    color: bool,
}

impl Page {
    fn line(&mut self, text: &str, style: Style) {
        let code = match style {
            Style::Plain => "",
            Style::Answer => "\x1b[1;32m",
            Style::Heading => "\x1b[1m",
            Style::Warning => "\x1b[33m",
            Style::Dim => "\x1b[2m",
        };
        if self.color && !code.is_empty() {
            self.out.push_str(code);
            self.out.push_str(text);
            self.out.push_str("\x1b[0m");
        } else {
            self.out.push_str(text);
        }
        self.out.push('\n');
    }

    /// Text broken at words, later lines indented as far as the lead.
    fn wrapped(&mut self, text: &str, lead: &str, style: Style) {
        let text = plain(text);
        let indent = " ".repeat(lead.chars().count());
        let mut line = lead.to_owned();
        let mut empty = true;
        for word in text.split_whitespace() {
            if !empty && line.chars().count() + 1 + word.chars().count() > self.width {
                self.line(&line, style);
                line.clone_from(&indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&line, style);
    }

    /// Label and text, the texts under one another.
    fn facts(&mut self, facts: &[(&'static str, String)]) {
        let widest = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let mut before = "";
        for (label, text) in facts {
            let shown = if *label == before { "" } else { *label };
            before = label;
            self.wrapped(text, &format!("  {shown:<widest$}  "), Style::Plain);
        }
    }

    fn section(&mut self, title: &str) {
        self.out.push('\n');
        self.line(&plain(title), Style::Heading);
    }

    fn list(&mut self, title: &str, items: &[String], style: Style) {
        if items.is_empty() {
            return;
        }
        self.section(title);
        for item in items {
            self.wrapped(item, "  - ", style);
        }
    }

    fn table(&mut self, mut table: Table) {
        table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        for line in table.lines() {
            self.line(line.trim_end(), Style::Plain);
        }
    }

    /// A table with a column an option: numbered, a few at a time, for their names are long.
    fn options_table(&mut self, view: &TableView) {
        for (index, name) in view.heads.iter().skip(1).enumerate() {
            self.wrapped(&format!("[{}] {name}", index + 1), "  ", Style::Plain);
        }
        let options = view.heads.len().saturating_sub(1);
        for first in (1..=options).step_by(SIDE_BY_SIDE) {
            let mut heads = beside(&view.heads, first);
            for (head, number) in heads.iter_mut().skip(1).zip(first..) {
                *head = format!("[{number}]");
            }
            let rows = view.rows.iter().map(|row| beside(row, first)).collect();
            self.text_table(&TableView { title: String::new(), heads, rows });
        }
    }

    /// A table; a row a paragraph where its columns do not fit.
    fn text_table(&mut self, view: &TableView) {
        let mut table = new_table();
        table.set_header(view.heads.clone());
        for row in &view.rows {
            table.add_row(row.iter().map(|cell| plain(&cell.text)).collect::<Vec<_>>());
        }
        let natural: usize =
            table.column_max_content_widths().iter().map(|column| usize::from(*column) + PADDING).sum();
        if natural <= self.width {
            align_right(&mut table, 1..view.heads.len());
            self.table(table);
            return;
        }
        for row in &view.rows {
            let mut cells = row.iter().map(|cell| cell.text.as_str());
            self.wrapped(cells.next().unwrap_or_default(), "  ", Style::Plain);
            for (head, cell) in view.heads.iter().skip(1).zip(cells) {
                self.wrapped(&format!("{head}: {cell}"), "    ", Style::Plain);
            }
        }
    }

    fn bill(&mut self, option: &OptionView) {
        self.section(&format!("Bill a month: {}", plain(&option.name)));
        let set = option.lines.iter().filter(|line| !line.zero);
        let amount_width = option.lines.iter().map(|line| line.amount.text.len()).max().unwrap_or(0);
        let amount_width = amount_width.max(option.per_month.text.len());
        for line in set {
            self.line(&format!("  {:<17} {:>amount_width$}", line.label, line.amount.text), Style::Plain);
        }
        self.line(&format!("  {:<17} {:>amount_width$}", "total", option.per_month.text), Style::Heading);
        let zeros: Vec<&str> = option.lines.iter().filter(|line| line.zero).map(|line| line.label).collect();
        if !zeros.is_empty() {
            self.wrapped(&format!("{} set to zero: {}", zeros.len(), zeros.join(", ")), "  ", Style::Dim);
        }
    }

    fn assumptions(&mut self, view: &View) {
        self.section(&format!("Assumptions: {} typed, {} defaults", view.typed, view.defaults));
        // What somebody typed for this product comes before the defaults, in the plan's order.
        let typed = view.assumptions.iter().filter(|assumption| !assumption.default);
        let defaults = view.assumptions.iter().filter(|assumption| assumption.default);
        for assumption in typed.chain(defaults).take(ASSUMPTIONS_SHOWN) {
            let note =
                if assumption.note.is_empty() { String::new() } else { format!(" ({})", assumption.note) };
            self.wrapped(&format!("{} = {}{note}", assumption.path, assumption.value), "  - ", Style::Plain);
        }
        let shown = view.assumptions.len().min(ASSUMPTIONS_SHOWN);
        if view.assumptions.len() > shown {
            self.line(
                &format!("  … and {} more in the HTML report", view.assumptions.len() - shown),
                Style::Dim,
            );
        }
    }
}
