//! The engine: a thread that serves all requests together, and the handle through which they come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use tokio::sync::mpsc::unbounded_channel;

use super::answer::{Answer, Outbox, Outcome};
use super::batch::{Decoder, StepBatch};
use super::chat::{ChatTemplate, Message, plain};
use super::decoder::build_decoder;
use super::load::{LoadError, LoadedModel};
use super::request::{EventStream, GenerateRequest, Prompt, RequestError, SubmitError};
use super::sampling::Scratch;
use super::scheduler::{Scheduler, Verdict};
use super::settings::EngineSettings;
use super::steps::{StepLog, StepRecord};
use super::tokenizer::TextCodec;
use crate::facts::ModelRecord;

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The weights could not be placed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The system gave no thread.
    #[error("cannot start the engine thread")]
    Thread(#[source] std::io::Error),
}

/// What the engine is doing right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStats {
    /// Requests that wait for a slot.
    pub queued: usize,
    /// Requests that hold a slot.
    pub running: usize,
    /// Tokens in the KV slots.
    pub kv_tokens: usize,
    /// Tokens the KV slots can hold.
    pub kv_capacity_tokens: usize,
}

/// What the caller's side and the engine thread share.
#[derive(Debug, Default)]
struct Shared {
    queued: AtomicUsize,
    running: AtomicUsize,
    kv_tokens: AtomicUsize,
    log: StepLog,
}

struct Submission {
    tokens: Vec<u32>,
    priority: u8,
    answer: Answer,
}

/// A running engine. Dropping it stops the thread; unfinished requests get `Failed`.
#[derive(Debug)]
pub struct Engine {
    codec: Arc<TextCodec>,
    template: Option<ChatTemplate>,
    record: ModelRecord,
    settings: EngineSettings,
    shared: Arc<Shared>,
    /// `None` once the engine is being dropped. Behind a lock so that the engine can be shared freely.
    submissions: Mutex<Option<Sender<Submission>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Places the weights and starts the engine thread.
    pub fn start(model: LoadedModel, settings: &EngineSettings) -> Result<Self, EngineError> {
        let weight_bytes = model.weight_bytes();
        let quantization = model.quantization().to_owned();
        let LoadedModel { name, spec, origin, codec, template, mut tensors } = model;
        let settings = settings.fitted_to(&spec, spec.kv_bytes_per_token(4))?;
        let decoder = build_decoder(&spec, tensors.as_mut(), &settings)?;
        drop(tensors);
        let record = ModelRecord {
            name,
            architecture: spec.architecture.clone(),
            parameters: spec.parameters(),
            quantization,
            weight_bytes,
            kv_bytes_per_token: decoder.kv_bytes_per_token(),
            context_tokens: spec.context as u64,
            weights: origin,
        };
        let codec = Arc::new(codec);
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = channel();
        let worker = Worker {
            decoder,
            scheduler: Scheduler::new(settings.slots(), settings.token_budget, settings.prefix_cache),
            scratches: Mutex::default(),
            outbox: Outbox::default(),
            codec: Arc::clone(&codec),
            shared: Arc::clone(&shared),
        };
        let thread = Builder::new()
            .name("breakeven-engine".to_owned())
            .spawn(move || worker.run(&receiver))
            .map_err(EngineError::Thread)?;
        Ok(Self {
            codec,
            template,
            record,
            settings,
            shared,
            submissions: Mutex::new(Some(sender)),
            thread: Some(thread),
        })
    }

    /// Hands in a request. Its events arrive on the stream; dropping the stream cancels it.
    pub fn submit(&self, request: GenerateRequest) -> Result<EventStream, SubmitError> {
        if let Some(defect) = request.sampling.defect() {
            return Err(SubmitError::Sampling(defect));
        }
        if request.max_tokens == 0 {
            return Err(SubmitError::NoTokens);
        }
        let tokens = match &request.prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) => self.codec.encode(text, true).map_err(SubmitError::Encoding)?,
            Prompt::Chat(messages) => {
                let text = self.apply_chat_template(messages)?;
                // A template writes the begin token itself where the model wants one.
                self.codec.encode(&text, self.template.is_none()).map_err(SubmitError::Encoding)?
            }
        };
        self.check_prompt(&tokens)?;
        let limit = request.max_tokens.min(self.settings.max_context - tokens.len());
        let (sender, receiver) = unbounded_channel();
        let priority = request.priority;
        let answer = Answer::new(request, tokens.len(), limit, sender);
        let queue = &self.shared.queued;
        queue
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |queued| {
                (queued < self.settings.max_queue).then_some(queued + 1)
            })
            .map_err(SubmitError::QueueFull)?;
        let submissions = self.submissions.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = submissions
            .as_ref()
            .is_some_and(|sender| sender.send(Submission { tokens, priority, answer }).is_ok());
        if sent {
            return Ok(EventStream::new(receiver));
        }
        queue.fetch_sub(1, Ordering::SeqCst);
        Err(SubmitError::Stopped)
    }

    fn check_prompt(&self, tokens: &[u32]) -> Result<(), SubmitError> {
        if tokens.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens.len() >= self.settings.max_context {
            return Err(SubmitError::PromptTooLong {
                tokens: tokens.len(),
                context: self.settings.max_context,
            });
        }
        let vocabulary = self.codec.vocabulary();
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            Some(&token) => Err(SubmitError::UnknownToken { token, vocabulary }),
            None => Ok(()),
        }
    }

    /// Tokens of a text, without begin token.
    pub fn count_tokens(&self, text: &str) -> Result<usize, SubmitError> {
        self.codec.encode(text, false).map(|tokens| tokens.len()).map_err(SubmitError::Encoding)
    }

    /// The prompt text of a conversation, from the model's own template where it has one.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, SubmitError> {
        match &self.template {
            Some(template) => template.render(messages).map_err(SubmitError::Encoding),
            None => Ok(plain(messages)),
        }
    }

    /// The model's tokenizer.
    pub fn codec(&self) -> &TextCodec {
        &self.codec
    }

    /// What a measurement remembers of the model.
    pub fn record(&self) -> &ModelRecord {
        &self.record
    }

    /// The settings in force: those asked for, bounded by model and memory.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Queue and KV use at this moment.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            queued: self.shared.queued.load(Ordering::SeqCst),
            running: self.shared.running.load(Ordering::SeqCst),
            kv_tokens: self.shared.kv_tokens.load(Ordering::SeqCst),
            kv_capacity_tokens: self.settings.max_sequences * self.settings.max_context,
        }
    }

    /// The steps since the last call.
    pub fn take_step_log(&self) -> Vec<StepRecord> {
        self.shared.log.take()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.submissions.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            // A panic inside was already told to every request.
            drop(thread.join());
        }
    }
}

/// The engine thread's own.
struct Worker {
    decoder: Box<dyn Decoder>,
    scheduler: Scheduler<Answer>,
    /// One for each thread that draws tokens.
    scratches: Mutex<Vec<Scratch>>,
    outbox: Outbox,
    codec: Arc<TextCodec>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self, submissions: &Receiver<Submission>) {
        let mut batch = StepBatch::default();
        let mut logits = Vec::new();
        while self.take_submissions(submissions) {
            let waiting = self.scheduler.queued();
            self.scheduler.drop_where(Answer::is_cancelled);
            self.settle_queue(waiting);
            self.publish();
            self.step(&mut batch, &mut logits);
        }
        for sequence in self.scheduler.drain() {
            sequence.owner.fail(RequestError::Stopped);
        }
        self.publish();
    }

    /// Takes what came in, waiting for it when there is nothing else to do; `false` when the engine stops.
    fn take_submissions(&mut self, submissions: &Receiver<Submission>) -> bool {
        if self.scheduler.is_idle() {
            match submissions.recv() {
                Ok(submission) => self.enqueue(submission),
                Err(_) => return false,
            }
        }
        loop {
            match submissions.try_recv() {
                Ok(submission) => self.enqueue(submission),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn enqueue(&mut self, submission: Submission) {
        self.scheduler.enqueue(submission.tokens, submission.priority, submission.answer);
    }

    fn step(&mut self, batch: &mut StepBatch, logits: &mut Vec<f32>) {
        let started = Instant::now();
        let waiting = self.scheduler.queued();
        let Some(mut record) = self.scheduler.plan(batch) else {
            self.settle_queue(waiting);
            return;
        };
        self.settle_queue(waiting);
        let before = Instant::now();
        let decoder = &mut self.decoder;
        let copies = self.scheduler.take_copies();
        // A panic in a tensor library must not leave callers waiting for ever.
        let result = catch_unwind(AssertUnwindSafe(|| {
            for copy in copies {
                decoder.copy_prefix(copy.from, copy.to, copy.tokens)?;
            }
            decoder.step(batch, logits)
        }));
        let decoding = before.elapsed();
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(super::error_chain(&error)),
            Err(_) => Some("the decoder panicked".to_owned()),
        };
        if let Some(failure) = failure {
            for sequence in self.scheduler.evict_running() {
                sequence.owner.fail(RequestError::Step(failure.clone()));
            }
            self.publish();
            return;
        }
        let at = Instant::now();
        self.draw(batch, logits);
        let (codec, outbox) = (&self.codec, &mut self.outbox);
        self.scheduler.complete(batch, |sequence| {
            sequence.owner.cached_tokens = sequence.cached;
            match sequence.owner.advance(codec, at, outbox) {
                Outcome::Goes(token) => Verdict::Continue(token),
                Outcome::Ends => Verdict::Leave,
            }
        });
        record.set_times(started.elapsed(), decoding);
        self.shared.log.push(record);
        self.publish();
        self.outbox.send();
    }

    /// Draws the next tokens, on the decoder's threads: of a large vocabulary a draw takes long enough to share.
    fn draw(&mut self, batch: &StepBatch, logits: &[f32]) {
        let scratches = &self.scratches;
        let rows: Vec<_> = logits.chunks_exact(self.decoder.spec().vocabulary).collect();
        let owners = self.scheduler.owners_of_rows(batch);
        let draws: Vec<Mutex<(&mut Answer, &[f32])>> = owners
            .map(|(row, owner)| Mutex::new((owner, rows.get(row).copied().unwrap_or_default())))
            .collect();
        let draw = |index: usize| {
            let Some(draw) = draws.get(index) else { return };
            let mut scratch =
                scratches.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let (owner, logits) = &mut *draw.lock().unwrap_or_else(PoisonError::into_inner);
            owner.draw(logits, &mut scratch);
            scratches.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        };
        match self.decoder.pool() {
            Some(pool) => pool.run(draws.len(), draw),
            None => (0..draws.len()).for_each(draw),
        }
    }

    /// What was admitted or cancelled has left the queue.
    fn settle_queue(&self, waiting_before: usize) {
        let left = waiting_before - self.scheduler.queued();
        self.shared.queued.fetch_sub(left, Ordering::SeqCst);
    }

    fn publish(&self) {
        self.shared.running.store(self.scheduler.running(), Ordering::SeqCst);
        self.shared.kv_tokens.store(self.scheduler.kv_tokens(), Ordering::SeqCst);
    }
}
