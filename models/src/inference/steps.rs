//! The step log: what each step worked on and how long it took, the raw material of the step-time model.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Records kept when nobody drains the log: hours of steps, tens of megabytes.
const MOST_RECORDS: usize = 1 << 18;

/// One step of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Tokens of prompts worked on, in chunks of two or more.
    pub prefill_tokens: usize,
    /// Sequences that went on by one token, be it the one sampled last or the last of a prompt.
    pub decoding_sequences: usize,
    /// Tokens in the KV slots of the step's sequences after it: what attention read.
    pub context_tokens: usize,
    /// Requests still waiting.
    pub queued: usize,
    /// Seconds from planning to the last token sampled.
    pub seconds: f64,
    /// Of these, spent in the decoder.
    pub decoder_seconds: f64,
}

impl StepRecord {
    pub(crate) fn set_times(&mut self, whole: Duration, decoder: Duration) {
        self.seconds = whole.as_secs_f64();
        self.decoder_seconds = decoder.as_secs_f64();
    }
}

/// A bounded log, oldest records lost first.
#[derive(Debug, Default)]
pub(crate) struct StepLog(Mutex<VecDeque<StepRecord>>);

impl StepLog {
    pub(crate) fn push(&self, record: StepRecord) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == MOST_RECORDS {
            records.pop_front();
        }
        records.push_back(record);
    }

    pub(crate) fn take(&self) -> Vec<StepRecord> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}
