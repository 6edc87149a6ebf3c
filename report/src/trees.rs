//! The trees under a page's numbers, each once, found as the page is written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use breakeven_planner::{Plan, explain::explain};
use minijinja::Environment;
use serde_json::Value;

/// Trees that a page has asked for so far.
#[derive(Debug, Default)]
struct Trees {
    plan: Value,
    by_place: HashMap<String, Option<usize>>,
    texts: Vec<String>,
}

impl Trees {
    fn number(&mut self, place: &str) -> Option<usize> {
        if let Some(known) = self.by_place.get(place) {
            return *known;
        }
        // A place that is not there has no tree: the number stands as text.
        let number = explain(&self.plan, place).ok().map(|text| {
            self.texts.push(text);
            self.texts.len() - 1
        });
        self.by_place.insert(place.to_owned(), number);
        number
    }
}

/// Gives templates `tree(place)`, the number of a tree or none, and `trees()`, the texts of all that were asked for.
///
/// # Errors
/// Where the plan cannot be written as JSON; no plan should cause it.
pub(crate) fn add(environment: &mut Environment<'_>, plan: &Plan) -> Result<(), serde_json::Error> {
    let trees = Arc::new(Mutex::new(Trees { plan: serde_json::to_value(plan)?, ..Trees::default() }));
    let asked = Arc::clone(&trees);
    environment.add_function("tree", move |place: &str| {
        asked.lock().unwrap_or_else(PoisonError::into_inner).number(place)
    });
    environment.add_function("trees", move || {
        std::mem::take(&mut trees.lock().unwrap_or_else(PoisonError::into_inner).texts)
    });
    Ok(())
}

/// The same functions where no number has a tree.
pub(crate) fn none(environment: &mut Environment<'_>) {
    environment.add_function("tree", |_place: &str| None::<usize>);
    environment.add_function("trees", Vec::<String>::new);
}
