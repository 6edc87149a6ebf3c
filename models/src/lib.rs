//! What a model is: architecture facts and sizes, and, behind the feature `inference`, the batched engine.
