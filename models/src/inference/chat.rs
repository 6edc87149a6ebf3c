//! Chat templates: the model's own Jinja text, rendered as Hugging Face transformers renders it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use super::gguf::{self, Header};
use super::load::LoadError;

/// Instructions a template may take: a real one takes thousands, an endless one is stopped.
const FUEL: u64 = 10_000_000;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`…
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".to_owned(), content: content.into() }
    }

    /// The system's instructions.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".to_owned(), content: content.into() }
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".to_owned(), content: content.into() }
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The file's `tokenizer.chat_template`, where it has one.
    pub fn from_header(header: &Header) -> Result<Option<Self>, LoadError> {
        let Some(source) = header.text("tokenizer.chat_template")? else { return Ok(None) };
        let token = |key: &str| -> Result<String, LoadError> {
            let id = header.unsigned(key)?.and_then(|id| usize::try_from(id).ok());
            Ok(match (header.metadata.get("tokenizer.ggml.tokens"), id) {
                (Some(gguf::Value::Texts(tokens)), Some(id)) => tokens.get(id).cloned().unwrap_or_default(),
                _ => String::new(),
            })
        };
        let bos = token("tokenizer.ggml.bos_token_id")?;
        let eos = token("tokenizer.ggml.eos_token_id")?;
        Self::new(source, bos, eos)
            .map(Some)
            .map_err(|error| header.fault(format!("`tokenizer.chat_template` does not parse: {error}")))
    }

    pub(crate) fn new(source: &str, bos: String, eos: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        environment.add_template_owned("chat", source.to_owned())?;
        Ok(Self { environment, bos, eos })
    }

    /// The prompt for a conversation, ending where the assistant is to speak.
    pub fn render(&self, messages: &[Message]) -> Result<String, String> {
        self.environment
            .get_template("chat")
            .and_then(|template| {
                template.render(context! {
                    messages => Value::from(Serde(messages)),
                    add_generation_prompt => true,
                    bos_token => &self.bos,
                    eos_token => &self.eos,
                })
            })
            .map_err(|error| error.to_string())
    }
}

/// For models without a template: roles and texts, one a line.
pub fn plain(messages: &[Message]) -> String {
    let mut prompt = String::new();
    for message in messages {
        prompt.push_str(&message.role);
        prompt.push_str(": ");
        prompt.push_str(&message.content);
        prompt.push('\n');
    }
    prompt.push_str("assistant:");
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_may_raise_and_may_not_run_forever() {
        let raising = ChatTemplate::new("{{ raise_exception('no system') }}", String::new(), String::new());
        assert!(raising.unwrap().render(&[]).unwrap_err().contains("no system"));
        let endless =
            "{% for a in range(100000) %}{% for b in range(100000) %}{{ b }}{% endfor %}{% endfor %}";
        let endless = ChatTemplate::new(endless, String::new(), String::new()).unwrap();
        assert!(endless.render(&[]).unwrap_err().contains("fuel"));
    }

    #[test]
    fn python_string_methods_work() {
        let template = "{{ messages[0]['content'].strip() }}{{ bos_token }}";
        let template = ChatTemplate::new(template, "<s>".into(), String::new()).unwrap();
        assert_eq!(template.render(&[Message::user("  hi ")]).unwrap(), "hi<s>");
    }
}
