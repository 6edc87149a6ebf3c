//! What is wrong with a product file, and where.

/// One mistake: file, line, what is there, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: `{found}`: {message}")]
pub struct ProductError {
    /// The file as the caller names it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The text of that line.
    pub found: String,
    /// What was expected, and the value.
    pub message: String,
}

impl ProductError {
    pub(crate) fn new(error: &toml::de::Error, text: &str, file: &str) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = line_of(text, start);
        let found = text.lines().nth(line - 1).unwrap_or_default();
        // Comments of the line are not part of the value.
        let found = found.split(" #").next().unwrap_or(found).trim();
        Self {
            file: file.to_owned(),
            line,
            found: found.chars().take(120).collect(),
            message: error.message().trim().to_owned(),
        }
    }

    /// A table of `[stack]` whose figures are together more than can be counted.
    pub(crate) fn of_stack(error: &crate::stack::TooMuch, text: &str, file: &str) -> Self {
        let header = format!("[[stack.{}]]", error.table);
        let at = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_start().starts_with(&header))
            .nth(error.index);
        Self {
            file: file.to_owned(),
            line: at.map_or(1, |(index, _)| index + 1),
            found: header,
            message: format!(
                "expected figures that multiply to less than 7.9e28 USD, found {:e} USD; are they in the units of their keys?",
                error.usd
            ),
        }
    }

    /// The `index`-th of a list of tables, `[[stage]]` or `[[lever]]`, that is refused; `at` is text to look for within its lines.
    pub(crate) fn of_table(
        name: &str,
        index: usize,
        at: &str,
        message: String,
        text: &str,
        file: &str,
    ) -> Self {
        let lines = || text.lines().enumerate();
        let (head, own_name) = (format!("[[{name}]]"), format!("{name}."));
        let start = lines()
            .filter(|(_, line)| line.trim_start().starts_with(&head))
            .nth(index)
            .map_or(0, |(number, _)| number);
        // Its lines end where another table begins that is not its own.
        let own = |line: &str| {
            let line = line.trim_start();
            !line.starts_with('[') || line.trim_start_matches('[').starts_with(&own_name)
        };
        let key = |line: &str| match line.trim_start().strip_prefix('[') {
            Some(table) => table.trim_start_matches('[').trim_start_matches(&own_name).starts_with(at),
            None => line.trim_start().starts_with(at),
        };
        let place = lines()
            .skip(start + 1)
            .take_while(|(_, line)| own(line))
            .find(|(_, line)| key(line) || line.contains(at) && at.starts_with('"'))
            .map_or(start, |(number, _)| number);
        let found = lines().nth(place).map_or("", |(_, line)| line);
        let found = found.split(" #").next().unwrap_or(found).trim();
        Self { file: file.to_owned(), line: place + 1, found: found.chars().take(120).collect(), message }
    }
}

/// The line of a byte, from 1.
pub(crate) fn line_of(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or(text).matches('\n').count() + 1
}
