//! `[segment.session]`: conversations instead of single requests.

use breakeven_measurement::workload::Session;
use serde::Deserialize;

use super::text::TextDuration;

/// A conversation. The segment's weight and the month's volume still count requests, that is turns.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, try_from = "Typed")]
#[schemars(with = "Typed")]
pub struct SessionTable {
    turns: u32,
    think_time: TextDuration,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    /// Requests of a conversation, from 2 up.
    turns: u32,
    /// From the end of an answer to the next turn.
    think_time: TextDuration,
}

/// Beyond this a context outgrows every model.
const MOST_TURNS: u32 = 1_000;

impl TryFrom<Typed> for SessionTable {
    type Error = String;

    fn try_from(Typed { turns, think_time }: Typed) -> Result<Self, String> {
        if (2..=MOST_TURNS).contains(&turns) {
            Ok(Self { turns, think_time })
        } else {
            Err(format!("expected from 2 to {MOST_TURNS} turns in a session, found {turns}"))
        }
    }
}

impl SessionTable {
    /// As the benchmark carries it out.
    pub fn session(self) -> Session {
        Session { turns: self.turns, think_seconds: self.think_time.0.as_secs_f64() }
    }
}
