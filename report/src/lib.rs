//! A plan rendered for its readers: terminal, markdown, HTML, XLSX and FOCUS CSV; and a comparison of two measurements. Computes nothing
//! that the plan, or the comparison, does not hold.

pub mod actuals;
mod chart;
pub mod comparison;
pub mod difference;
mod economics;
mod figure;
pub mod focus;
pub mod format;
pub mod html;
pub mod intervals;
pub mod kubernetes;
mod latency;
pub mod levers;
pub mod markdown;
pub mod schema;
mod sureness;
pub mod table;
pub mod terminal;
mod titled_table;
mod trees;
pub mod ui;
mod view;
pub mod xlsx;
