//! What a machine is and what it costs.
