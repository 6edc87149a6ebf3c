//! A plan rendered for its readers.
