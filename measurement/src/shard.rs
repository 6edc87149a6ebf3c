//! One generator's part of a load that several generators send together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Part `index` of `of`, counted from 0, as Kubernetes counts the pods of an Indexed Job.
///
/// All parts draw the same schedule from the same seed; part *i* of *n* sends the arrivals number *i*, *i + n*,
/// *i + 2n*… of it, so that the parts together send every arrival exactly once.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "RawShard")]
pub struct Shard {
    index: u32,
    of: u32,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawShard {
    index: u32,
    of: u32,
}

/// Why a shard was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Not two numbers around a slash.
    #[error("expected INDEX/COUNT such as 0/8, found `{0}`")]
    Form(String),
    /// No such part.
    #[error("expected an index from 0 to one below the count, found {index}/{of}")]
    Range {
        /// Index as given.
        index: u32,
        /// Count as given.
        of: u32,
    },
}

impl Shard {
    /// Part `index` of `of`.
    pub fn new(index: u32, of: u32) -> Result<Self, ShardError> {
        if index < of { Ok(Self { index, of }) } else { Err(ShardError::Range { index, of }) }
    }

    /// Its number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many parts there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether this part sends arrival number `arrival` of the whole schedule.
    pub fn sends(self, arrival: usize) -> bool {
        arrival % self.of as usize == self.index as usize
    }
}

impl TryFrom<RawShard> for Shard {
    type Error = ShardError;
    fn try_from(raw: RawShard) -> Result<Self, ShardError> {
        Self::new(raw.index, raw.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;
    fn from_str(text: &str) -> Result<Self, ShardError> {
        let form = || ShardError::Form(text.to_owned());
        let (index, of) = text.split_once('/').ok_or_else(form)?;
        let number = |part: &str| part.trim().parse().map_err(|_| form());
        Self::new(number(index)?, number(of)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("0/8".parse(), Ok(Shard { index: 0, of: 8 }));
        for (text, message) in [
            ("8/8", "expected an index from 0 to one below the count, found 8/8"),
            ("0/0", "expected an index from 0 to one below the count, found 0/0"),
            ("3", "expected INDEX/COUNT such as 0/8, found `3`"),
            ("-1/2", "expected INDEX/COUNT such as 0/8, found `-1/2`"),
        ] {
            assert_eq!(text.parse::<Shard>().unwrap_err().to_string(), message);
        }
        assert!(serde_json::from_str::<Shard>(r#"{"index":2,"of":2}"#).is_err());
    }

    #[test]
    fn every_arrival_is_sent_by_exactly_one_part() {
        for of in 1..6 {
            for arrival in 0..40 {
                let senders = (0..of).filter(|i| Shard::new(*i, of).unwrap().sends(arrival)).count();
                assert_eq!(senders, 1);
            }
        }
    }
}
