//! `breakeven`: the command line.
fn main() {}
