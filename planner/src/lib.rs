//! Workload to capacity to cost to decision: pure functions.
