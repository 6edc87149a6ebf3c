//! Requests of a recorded trace: the Azure LLM inference traces, or any CSV of arrival, prompt and answer lengths.

use jiff::civil::DateTime;

use super::{Request, settings::SimulationError};

/// Reads a trace with a header and three columns: arrival (a civil date and time, or seconds), prompt tokens, answer
/// tokens. Arrivals are counted from the first; the rows may be in any order.
///
/// # Errors
/// With the line, what was expected there and what was found.
pub fn parse_trace(text: &str) -> Result<Vec<Request>, SimulationError> {
    let mut first: Option<DateTime> = None;
    let mut requests = Vec::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |expected, found: &str| SimulationError::Trace {
            line: index + 1,
            expected,
            found: found.to_owned(),
        };
        let mut columns = line.split(',').map(str::trim);
        let at = columns.next().unwrap_or_default();
        let at_seconds = if let Ok(seconds) = at.parse::<f64>() {
            seconds
        } else {
            let time: DateTime = at.parse().map_err(|_| wrong("a time or seconds", at))?;
            let first = *first.get_or_insert(time);
            time.duration_since(first).as_secs_f64()
        };
        if !at_seconds.is_finite() {
            return Err(wrong("a finite time", at));
        }
        let mut tokens = |expected| {
            let found = columns.next().unwrap_or_default();
            found.parse::<u32>().map_err(|_| wrong(expected, found))
        };
        let (prompt_tokens, output_tokens) = (tokens("prompt tokens")?, tokens("answer tokens")?);
        requests.push(Request { at_seconds, prompt_tokens, output_tokens, prefix: None });
    }
    requests.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    let start = requests.first().map_or(0.0, |r| r.at_seconds);
    for request in &mut requests {
        request.at_seconds -= start;
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_s_columns_are_read_from_the_first_arrival() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n\
                    2023-11-16 18:15:50.9951690,396,109\n";
        let requests = parse_trace(text).unwrap();
        assert_eq!(requests.len(), 2);
        assert!((requests[1].at_seconds - 4.314_579).abs() < 1e-9, "{}", requests[1].at_seconds);
        assert_eq!((requests[1].prompt_tokens, requests[1].output_tokens), (396, 109));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let error = parse_trace("at,in,out\n0.5,10,x\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2 of the trace: expected answer tokens, found `x`");
        assert!(
            parse_trace("at,in,out\nlater,10,1\n").is_err() && parse_trace("at,in,out\n1.0,10\n").is_err()
        );
    }
}
