//! Calls added up as they are read, in memory that depends on the number of groups and not of rows.

use std::{collections::BTreeMap, time::Duration};

use breakeven_measurement::LatencySeries;

use crate::{
    hash::Map,
    instant,
    money::AttoUsd,
    prices::{Prices, Pricing},
    retries::{Attempt, CELLS},
    row::{Cost, Ending, UsageRow},
    sums::{Retry, Sums},
    usage::{Breakdown, Counts, Dimension, UNLABELLED},
};

/// Values of one label that are kept.
pub(crate) const MOST_VALUES: usize = 10_000;
/// Pairs of value and day that are kept.
pub(crate) const MOST_CELLS: usize = 200_000;
/// Marks an attempt whose label has too many values.
pub(crate) const NO_CELL: u32 = u32::MAX;

/// One label's values by day.
#[derive(Debug, Default)]
struct Groups {
    ids: Map<Box<str>, u32>,
    /// Name, and the day and cell that were last used.
    values: Vec<(Box<str>, i32, u32)>,
    cells: Map<(u32, i32), u32>,
    sums: Vec<(u32, i32, Sums)>,
    too_many: bool,
}

impl Groups {
    fn cell(&mut self, value: &str, day: i32) -> u32 {
        if self.too_many {
            return NO_CELL;
        }
        let id = if let Some(id) = self.ids.get(value) {
            *id
        } else {
            let id = u32::try_from(self.values.len()).unwrap_or(NO_CELL);
            self.ids.insert(value.into(), id);
            self.values.push((value.into(), i32::MIN, NO_CELL));
            id
        };
        let Some((_, last_day, last_cell)) = self.values.get_mut(id as usize) else { return NO_CELL };
        if *last_day != day {
            let sums = &mut self.sums;
            *last_cell = *self.cells.entry((id, day)).or_insert_with(|| {
                sums.push((id, day, Sums::default()));
                u32::try_from(sums.len() - 1).unwrap_or(NO_CELL)
            });
            *last_day = day;
        }
        let cell = *last_cell;
        if self.values.len() > MOST_VALUES || self.sums.len() > MOST_CELLS {
            *self = Self { too_many: true, ..Self::default() };
            return NO_CELL;
        }
        cell
    }

    fn sums(&mut self, cell: u32) -> Option<&mut Sums> {
        self.sums.get_mut(cell as usize).map(|(_, _, sums)| sums)
    }
}

/// Names that are counted, up to a number of them.
#[derive(Debug, Default)]
struct Tally {
    counts: Map<Box<str>, u64>,
    too_many: bool,
}

impl Tally {
    fn add(&mut self, name: &str, count: u64) {
        if self.too_many {
            return;
        }
        match self.counts.get_mut(name) {
            Some(so_far) => *so_far += count,
            None => drop(self.counts.insert(name.into(), count)),
        }
        if self.counts.len() > MOST_VALUES {
            *self = Self { too_many: true, ..Self::default() };
        }
    }

    fn merge(&mut self, other: Self) {
        if other.too_many {
            *self = other;
        } else {
            other.counts.iter().for_each(|(name, count)| self.add(name, *count));
        }
    }

    fn finish(self) -> Counts {
        (!self.too_many).then(|| self.counts.into_iter().map(|(name, n)| (name.into_string(), n)).collect())
    }
}

/// What one thread has added up.
#[derive(Debug)]
pub(crate) struct Partial<'p> {
    pricing: Pricing<'p>,
    days: Groups,
    groups: [Groups; 5],
    hours: Map<i64, u64>,
    last_hour: (i64, u64),
    causes: Tally,
    fallbacks: Tally,
    latency: LatencySeries,
    timed: u64,
    zero_cost_recorded: u64,
    span: Option<(i64, i64)>,
}

impl<'p> Partial<'p> {
    pub(crate) fn new(prices: &'p Prices) -> Self {
        Self {
            pricing: Pricing::new(prices),
            days: Groups::default(),
            groups: Default::default(),
            hours: Map::default(),
            last_hour: (i64::MIN, 0),
            causes: Tally::default(),
            fallbacks: Tally::default(),
            latency: LatencySeries::new(),
            timed: 0,
            zero_cost_recorded: 0,
            span: None,
        }
    }

    /// Adds a call; what is left to find out is whether it repeats another.
    pub(crate) fn add(&mut self, row: &UsageRow<'_>) -> Attempt {
        let day = instant::day_of(row.start);
        let priced = match row.cost {
            Cost::Recorded(_) => None,
            Cost::Absent { zero_recorded } => {
                self.zero_cost_recorded += u64::from(zero_recorded);
                self.pricing.cost(row)
            }
        };
        let mut cells = [NO_CELL; CELLS];
        let labels = [row.model, row.stage, row.route, row.feature, row.team];
        let groups = self.groups.iter_mut().zip(labels).chain([(&mut self.days, None)]);
        for ((groups, label), cell) in groups.zip(&mut cells) {
            *cell = groups.cell(label.unwrap_or(UNLABELLED), day);
            if let Some(sums) = groups.sums(*cell) {
                sums.add(row, priced);
            }
        }
        self.hour(row.start.div_euclid(3_600 * instant::SECOND));
        if let Ending::Failed(cause) = row.ending {
            self.causes.add(cause, 1);
        }
        if let (true, Some(asked), Some(answered)) = (row.fallback, row.requested, row.model) {
            self.fallbacks.add(&format!("{asked} → {answered}"), 1);
        }
        if let Some(end) = row.end {
            self.timed += 1;
            match row.ending {
                Ending::Answered => {
                    let took = u64::try_from(end - row.start).unwrap_or(0);
                    self.latency.record(Duration::from_nanos(took));
                }
                Ending::Failed(_) => self.latency.record_infinite(),
            }
        }
        let (first, last) = self.span.unwrap_or((row.start, row.start));
        self.span = Some((first.min(row.start), last.max(row.start)));
        let usd = match row.cost {
            Cost::Recorded(cost) => cost,
            Cost::Absent { .. } => priced.unwrap_or(AttoUsd::ZERO),
        };
        Attempt {
            request: row.request,
            model: row.requested.or(row.route).or(row.model).map(|name| crate::hash::of_texts(&[name])),
            start: row.start,
            end: row.end.unwrap_or(row.start),
            failed: row.ending != Ending::Answered,
            stated_retry: row.stated_retry,
            fallback: row.fallback,
            cells,
            tokens: row.input_tokens.unwrap_or(0) + row.output_tokens.unwrap_or(0),
            usd,
        }
    }

    fn hour(&mut self, hour: i64) {
        if self.last_hour.0 != hour {
            self.flush_hour();
            self.last_hour.0 = hour;
        }
        self.last_hour.1 += 1;
    }

    fn flush_hour(&mut self) {
        let (hour, count) = self.last_hour;
        if count > 0 {
            *self.hours.entry(hour).or_default() += count;
        }
        self.last_hour.1 = 0;
    }

    /// Adds what was found of retries, by cell.
    pub(crate) fn add_retries(&mut self, found: &Map<(u8, u32), Retry>) {
        for ((place, cell), retry) in found {
            let groups = self.groups.get_mut(usize::from(*place)).unwrap_or(&mut self.days);
            if let Some(sums) = groups.sums(*cell) {
                sums.add_retry(retry);
            }
        }
    }
}

/// What all threads have added up, independent of how the rows were dealt out.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    days: Whole1,
    groups: [Whole1; 5],
    hours: Map<i64, u64>,
    causes: Tally,
    fallbacks: Tally,
    latency: LatencySeries,
    timed: u64,
    zero_cost_recorded: u64,
    span: Option<(i64, i64)>,
}

/// One label's values by day, of all threads.
#[derive(Debug, Default)]
struct Whole1 {
    values: BTreeMap<Box<str>, BTreeMap<i32, Sums>>,
    too_many: bool,
}

impl Whole1 {
    fn merge(&mut self, part: Groups) {
        self.too_many |= part.too_many;
        for (id, day, sums) in part.sums {
            if let Some((name, _, _)) = part.values.get(id as usize) {
                let days = match self.values.get_mut(name) {
                    Some(days) => days,
                    None => self.values.entry(name.clone()).or_default(),
                };
                days.entry(day).or_default().merge(&sums);
            }
        }
        // The limits hold for all threads' groups together: what is dropped does not depend on their number.
        let cells: usize = self.values.values().map(BTreeMap::len).sum();
        self.too_many |= self.values.len() > MOST_VALUES || cells > MOST_CELLS;
    }

    fn finish(self) -> Breakdown {
        if self.too_many {
            return Breakdown::TooMany;
        }
        let days = |days: BTreeMap<i32, Sums>| {
            days.into_iter().map(|(day, sums)| (instant::date(day), sums)).collect()
        };
        Breakdown::Values(self.values.into_iter().map(|(name, d)| (name.into_string(), days(d))).collect())
    }
}

/// The finished sums of a file.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) span: (i64, i64),
    pub(crate) days: BTreeMap<jiff::civil::Date, Sums>,
    pub(crate) by: BTreeMap<Dimension, Breakdown>,
    pub(crate) busiest_hour_attempts: u64,
    pub(crate) causes: Counts,
    pub(crate) fallbacks: Counts,
    pub(crate) latency: LatencySeries,
    pub(crate) timed: u64,
    pub(crate) zero_cost_recorded: u64,
}

impl Whole {
    pub(crate) fn merge(&mut self, mut part: Partial<'_>) {
        part.flush_hour();
        self.days.merge(part.days);
        for (whole, groups) in self.groups.iter_mut().zip(part.groups) {
            whole.merge(groups);
        }
        for (hour, count) in part.hours {
            *self.hours.entry(hour).or_default() += count;
        }
        self.causes.merge(part.causes);
        self.fallbacks.merge(part.fallbacks);
        self.latency.merge(&part.latency);
        self.timed += part.timed;
        self.zero_cost_recorded += part.zero_cost_recorded;
        self.span = match (self.span, part.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// `None` where there was no call.
    pub(crate) fn finish(self) -> Option<Finished> {
        let span = self.span?;
        let days = match self.days.finish() {
            Breakdown::Values(mut values) => values.pop_first().map(|(_, days)| days).unwrap_or_default(),
            // A hundred years of days are below the limit.
            Breakdown::TooMany => BTreeMap::new(),
        };
        Some(Finished {
            span,
            days,
            by: Dimension::ALL.into_iter().zip(self.groups.map(Whole1::finish)).collect(),
            busiest_hour_attempts: self.hours.values().copied().max().unwrap_or(0),
            causes: self.causes.finish(),
            fallbacks: self.fallbacks.finish(),
            latency: self.latency,
            timed: self.timed,
            zero_cost_recorded: self.zero_cost_recorded,
        })
    }
}
