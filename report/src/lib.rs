//! A plan rendered for its readers: terminal, markdown and HTML; and a comparison of two measurements. Computes nothing
//! that the plan, or the comparison, does not hold.

mod chart;
pub mod comparison;
pub mod format;
pub mod html;
pub mod markdown;
pub mod table;
pub mod terminal;
mod view;
