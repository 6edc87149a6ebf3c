//! What makes an answer a success, checked on the answer that was timed.

use std::sync::Arc;

use jsonschema::Validator;
use regex::Regex;

use crate::target::Trace;

/// What an answer of one segment must be. Everything that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Criteria {
    /// The text matches.
    pub matches: Option<Regex>,
    /// The text is one JSON value.
    pub json: bool,
    /// Keys that the JSON object, or the arguments of the tool call, must have.
    pub keys: Vec<String>,
    /// Fewest answer tokens.
    pub least_tokens: Option<u64>,
    /// Most answer tokens.
    pub most_tokens: Option<u64>,
    /// Why generation must have ended, in the target's word; any where empty.
    pub stop_reasons: Vec<String>,
    /// A call of this tool, its arguments a JSON object.
    pub tool: Option<String>,
    /// The text is JSON that satisfies this, or the arguments of the tool call do.
    pub schema: Option<Schema>,
}

/// A JSON Schema (draft by its `$schema`, else 2020-12), ready to check.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Validator>);

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let validator =
            jsonschema::validator_for(&value).map_err(|e| format!("{e} at `{}`", e.instance_path()))?;
        Ok(Self(Arc::new(validator)))
    }

    fn check(&self, value: &serde_json::Value) -> Result<(), String> {
        self.0.validate(value).map_err(|e| {
            format!(
                "expected JSON as the schema says, found at `{}`: {}",
                e.instance_path(),
                shortened(&e.to_string())
            )
        })
    }
}

impl Criteria {
    /// A regular expression for [`Self::matches`].
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
        Regex::new(text)
    }

    /// Whether the answer's text or calls are needed.
    pub fn read_the_answer(&self) -> bool {
        self.matches.is_some()
            || self.json
            || self.tool.is_some()
            || !self.keys.is_empty()
            || self.schema.is_some()
    }

    /// Checks a completed answer.
    ///
    /// # Errors
    /// What was expected and what was found, shortened.
    pub fn check(&self, trace: &Trace, output_tokens: u64) -> Result<(), String> {
        if let Some(least) = self.least_tokens.filter(|least| output_tokens < *least) {
            return Err(format!("expected at least {least} tokens, found {output_tokens}"));
        }
        if let Some(most) = self.most_tokens.filter(|most| output_tokens > *most) {
            return Err(format!("expected at most {most} tokens, found {output_tokens}"));
        }
        let reason = trace.finish_reason.as_deref().unwrap_or("none");
        if !self.stop_reasons.is_empty() && !self.stop_reasons.iter().any(|r| r == reason) {
            return Err(format!("expected the end to be {}, found {reason}", self.stop_reasons.join(" or ")));
        }
        if !self.read_the_answer() {
            return Ok(());
        }
        let Some(answer) = &trace.answer else {
            return Err("the target does not tell its answer, so it cannot be checked".to_owned());
        };
        let text = answer.text.trim();
        if let Some(pattern) = self.matches.as_ref().filter(|pattern| !pattern.is_match(text)) {
            return Err(format!("expected text that matches `{pattern}`, found `{}`", shortened(text)));
        }
        let object = if let Some(tool) = &self.tool {
            let call = answer.tool_calls.iter().find(|call| call.name == *tool);
            let call = call.ok_or_else(|| format!("expected a call of `{tool}`, found none"))?;
            let arguments = parsed(&call.arguments)?;
            if !arguments.is_object() {
                return Err(format!(
                    "expected the arguments of `{tool}` to be an object, found `{}`",
                    shortened(&call.arguments)
                ));
            }
            arguments
        } else if self.json || !self.keys.is_empty() || self.schema.is_some() {
            parsed(text)?
        } else {
            return Ok(());
        };
        if let Some(schema) = &self.schema {
            schema.check(&object)?;
        }
        match self.keys.iter().find(|key| object.get(key.as_str()).is_none()) {
            Some(key) => Err(format!("expected the key `{key}`, found `{}`", shortened(&object.to_string()))),
            None => Ok(()),
        }
    }
}

fn parsed(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|e| format!("expected JSON, found `{}` ({e})", shortened(text)))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Answer, ToolCall};

    fn answered(text: &str) -> Trace {
        let answer = Answer { text: text.to_owned(), ..Answer::default() };
        Trace { answer: Some(answer), finish_reason: Some("stop".to_owned()), ..Trace::default() }
    }

    #[test]
    fn each_criterion_refuses_what_it_is_about() {
        let json = Criteria { json: true, keys: vec!["intent".to_owned()], ..Criteria::default() };
        assert_eq!(json.check(&answered("{\"intent\": \"refund\"}"), 9), Ok(()));
        assert!(json.check(&answered("{\"other\": 1}"), 9).unwrap_err().contains("`intent`"));
        assert!(json.check(&answered("Sure! {"), 9).unwrap_err().contains("expected JSON"));
        let pattern = Criteria { matches: Regex::new("(?i)refund").ok(), ..Criteria::default() };
        assert_eq!(pattern.check(&answered("A Refund."), 3), Ok(()));
        assert!(pattern.check(&answered("No."), 3).is_err());
        let ended = Criteria { stop_reasons: vec!["stop".to_owned()], ..Criteria::default() };
        assert_eq!(ended.check(&answered(""), 3), Ok(()));
        let cut = Trace { finish_reason: Some("length".to_owned()), ..Trace::default() };
        assert_eq!(ended.check(&cut, 3).unwrap_err(), "expected the end to be stop, found length");
        let long = Criteria { least_tokens: Some(5), most_tokens: Some(9), ..Criteria::default() };
        assert!(long.check(&cut, 4).is_err() && long.check(&cut, 10).is_err() && long.check(&cut, 9).is_ok());
    }

    #[test]
    fn a_schema_says_what_is_wrong_and_where() {
        let text = r#"{"type": "object", "required": ["intent"],
            "properties": {"intent": {"enum": ["refund", "delivery"]}, "amount": {"type": "number", "minimum": 0}}}"#;
        let wanted = Criteria { schema: Some(Schema::parse(text).unwrap()), ..Criteria::default() };
        assert_eq!(wanted.check(&answered(r#"{"intent": "refund", "amount": 12.5}"#), 9), Ok(()));
        let wrong = wanted.check(&answered(r#"{"intent": "refund", "amount": -1}"#), 9).unwrap_err();
        assert!(wrong.contains("`/amount`") && wrong.contains("-1"), "{wrong}");
        assert!(wanted.check(&answered(r#"{"amount": 1}"#), 9).is_err());
        assert!(wanted.check(&answered("Certainly!"), 9).unwrap_err().contains("expected JSON"));
        assert!(Schema::parse(r#"{"type": "objekt"}"#).is_err());
        assert!(Schema::parse("{").is_err());
    }

    #[test]
    fn a_tool_call_needs_its_name_an_object_and_its_keys() {
        let wanted =
            Criteria { tool: Some("book".to_owned()), keys: vec!["day".to_owned()], ..Criteria::default() };
        let called = |name: &str, arguments: &str| {
            let call = ToolCall { name: name.to_owned(), arguments: arguments.to_owned() };
            let answer = Answer { tool_calls: vec![call], ..Answer::default() };
            wanted.check(&Trace { answer: Some(answer), ..Trace::default() }, 5)
        };
        assert_eq!(called("book", "{\"day\": \"Monday\"}"), Ok(()));
        assert!(called("cook", "{\"day\": 1}").is_err());
        assert!(called("book", "[1]").is_err());
        assert!(called("book", "{\"da").is_err());
        assert!(called("book", "{}").is_err());
        assert!(wanted.check(&Trace::default(), 5).unwrap_err().contains("does not tell its answer"));
    }
}
