//! The machines that draws compare: the plan's own, and every other measured machine and term, each the product file with another `[fleet]`.
//!
//! A number that the file types once is drawn once, whichever machines it is of: traffic and prices of APIs for all, the price of a machine
//! for its own options. So every option of a draw stands on the same numbers.

use breakeven_hardware::sheet::Term;

use super::{inputs::Input, lift::Slot};
use crate::{
    machines::{On, Other},
    planning::SELF_HOST,
    product::{Product, capacity_tables::PurchaseTable, machine::FLEET},
    scenario::world::World,
};

/// Some of the parts, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts(u64);

impl Parts {
    /// Every one.
    pub(crate) const ALL: Self = Self(u64::MAX);
    /// At most, the plan's own with them.
    const MOST: usize = 64;

    /// By their places.
    pub(crate) fn of(places: impl Iterator<Item = usize>) -> Self {
        Self(places.filter(|at| *at < Self::MOST).fold(0, |all, at| all | 1 << at))
    }

    /// Whether one is among them.
    pub(crate) fn holds(self, part: usize) -> bool {
        part < Self::MOST && self.0 >> part & 1 == 1
    }

    /// Those in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether some are in both.
    pub(crate) fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One machine under one term.
pub(crate) struct Part<'a> {
    /// Option id.
    pub(crate) id: String,
    pub(crate) machine: String,
    term: Term,
    pub(crate) world: World<'a>,
    pub(crate) product: &'a Product,
}

/// The plan's own machine, then the others: as many as there are bits for.
pub(crate) fn parts<'a>(
    world: &World<'a>,
    product: &'a Product,
    on: &On,
    others: &'a [Other<'a>],
) -> Vec<Part<'a>> {
    let own =
        Part { id: SELF_HOST.to_owned(), machine: on.machine.clone(), term: on.term, world: *world, product };
    let others = others.iter().map(|other| Part {
        id: other.id.clone(),
        machine: other.on.machine.clone(),
        term: other.on.term,
        world: World { measurement: other.measurement, capacity: other.capacity.as_ref(), ..*world },
        product: &other.product,
    });
    std::iter::once(own).chain(others).take(Parts::MOST).collect()
}

impl Part<'_> {
    /// What each distribution of the file is of, so that the same number is known in the files of several parts; empty where it is not in
    /// use.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.product.uncertain.slots.iter().map(|slot| self.key(slot)).collect()
    }

    /// Whether its capacity is the other's too: terms of one machine, and machines with one measurement.
    pub(crate) fn measured_with(&self, other: &Self) -> bool {
        let rate = |part: &Self| part.world.capacity.map(|capacity| capacity.rate.per_second());
        let run = |part: &Self| part.world.measurement.run_id.clone();
        self.machine == other.machine || (run(self) == run(other) && rate(self) == rate(other))
    }

    fn key(&self, slot: &Slot) -> String {
        if !self.product.uncertain.counts(slot) {
            return String::new();
        }
        if slot.measured {
            return format!("{} of run {}", slot.path, self.world.measurement.run_id);
        }
        let Some(of_fleet) = slot.path.strip_prefix("fleet.") else { return slot.path.clone() };
        let price = |term: Term| format!("{}/{} an hour", self.machine, term.name());
        if of_fleet == "usd_per_hour" {
            return price(self.term);
        }
        let bought = of_fleet.strip_prefix("purchase.");
        let term = PurchaseTable::TERMS
            .into_iter()
            .find(|term| PurchaseTable::key(*term).is_some_and(|key| bought == Some(key)));
        if let Some(term) = term {
            return price(term);
        }
        let of_a_machine = ["owned", "replica", "success_probability"].iter().any(|key| {
            of_fleet.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if of_a_machine { format!("{}/{of_fleet}", self.machine) } else { slot.path.clone() }
    }

    /// A path as a reader knows it: a machine's numbers stand in its `[[machine]]`, but those of the plan's own, which are shown as
    /// `[fleet]`'s.
    pub(crate) fn shown(&self, index: usize, path: &str, taken: &[Input]) -> String {
        let shown = match path.strip_prefix("fleet.") {
            Some(rest) if index > 0 && self.machine != FLEET => format!("machine[{}].{rest}", self.machine),
            _ => path.to_owned(),
        };
        if taken.iter().any(|input| input.path == shown) { format!("{shown} of {}", self.id) } else { shown }
    }
}
