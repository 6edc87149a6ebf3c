//! Whether two names mean one model.

/// Whether `answered` is the model `asked` for: the same name, with another provider's prefix, or a dated or numbered version of it.
///
/// `gpt-4o` is answered by `gpt-4o-2024-08-06`, and `openai/gpt-4o` by `gpt-4o`; `gpt-4o` is not answered by `gpt-4o-mini`. The part behind the
/// name counts as a version where each of its pieces is `latest`, `preview`, `exp`, `stable`, `v` and digits, or digits, three or
/// more in at least one of them.
pub fn same_model(asked: &str, answered: &str) -> bool {
    let (asked, answered) = (bare(asked), bare(answered));
    let version = |long: &str, short: &str| {
        let Some((head, rest)) = long.split_at_checked(short.len()) else { return false };
        !short.is_empty() && head.eq_ignore_ascii_case(short) && (rest.is_empty() || is_version(rest))
    };
    version(answered, asked) || version(asked, answered)
}

/// The name behind the last `/`.
fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn is_version(rest: &str) -> bool {
    let Some(pieces) = rest.strip_prefix(['-', '@', ':']) else { return false };
    let mut sure = false;
    for piece in pieces.split(['-', '.', ':', '_']) {
        let number = piece.strip_prefix(['v', 'V']);
        let word = ["latest", "preview", "exp", "stable"].iter().any(|word| piece.eq_ignore_ascii_case(word));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !(word || digits(piece) || number.is_some_and(digits)) {
            return false;
        }
        sure |= word || number.is_some() || piece.len() >= 3;
    }
    sure
}

#[cfg(test)]
mod tests {
    use super::same_model;

    #[test]
    fn versions_are_the_model_and_siblings_are_not() {
        for (asked, answered) in [
            ("gpt-4o", "gpt-4o"),
            ("gpt-4o", "GPT-4o-2024-08-06"),
            ("openai/gpt-4o", "gpt-4o"),
            ("gpt-4", "gpt-4-0613"),
            ("gpt-4", "gpt-4-1106-preview"),
            ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("gemini-2.5-flash-lite", "gemini/gemini-2.5-flash-lite-preview-09-2025"),
            ("mistral-large", "mistral-large-latest"),
            ("anthropic.claude-3-haiku-20240307", "anthropic.claude-3-haiku-20240307-v1:0"),
        ] {
            assert!(same_model(asked, answered), "{asked} {answered}");
        }
        for (asked, answered) in [
            ("gpt-4o", "gpt-4o-mini"),
            ("gpt-4", "gpt-4-32k"),
            ("claude-3", "claude-3-5"),
            ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
            ("a", ""),
            ("", "a"),
            ("fast-chat", "gpt-4o-mini"),
        ] {
            assert!(!same_model(asked, answered), "{asked} {answered}");
        }
    }
}
