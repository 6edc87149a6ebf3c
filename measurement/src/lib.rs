//! What a benchmark run found: the one file that passes from the lab to the planner.
