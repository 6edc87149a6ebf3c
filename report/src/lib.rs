//! A plan rendered for its readers: terminal, markdown and HTML. Computes nothing that the plan does not hold.

mod chart;
pub mod format;
pub mod html;
pub mod markdown;
pub mod terminal;
mod view;
