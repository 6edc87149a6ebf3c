//! Load: schedules, workloads, targets, recorder, validity, search.
