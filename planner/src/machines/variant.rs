//! The product file on another machine, or on the same one paid otherwise: its `[fleet]` changed, all else as it is.
//!
//! The text is changed and parsed again, so that numbers typed as distributions stay distributions and draws read the same file.

use breakeven_hardware::sheet::Term;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::product::{Product, capacity_tables::PurchaseTable};

/// Keys of `[fleet]` that belong to one machine.
const OF_A_MACHINE: [&str; 6] =
    ["instance", "usd_per_hour", "usd_per_hour_note", "owned", "replica", "success_probability"];

/// The product on its `machine`-th `[[machine]]`, or on its own for `None`, under a term.
///
/// # Errors
/// Where the changed file is none that may be planned on.
pub(super) fn on(product: &Product, machine: Option<usize>, term: Term) -> Result<Product, String> {
    let mut file: DocumentMut =
        product.uncertain.text().parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let other = machine.and_then(|index| other(&file, index));
    // A plan is that of all levers off, and one may change what this machine has not.
    file.remove("lever");
    let name = machine.and_then(|index| product.machines.get(index)).map_or("", |table| table.name.as_str());
    let fleet = file.entry("fleet").or_insert_with(|| Item::Table(Table::new()));
    let fleet = fleet.as_table_like_mut().ok_or("expected a table at `fleet`")?;
    if let Some(other) = other {
        for key in OF_A_MACHINE {
            fleet.remove(key);
            if let Some(item) = other.get(key) {
                fleet.insert(key, item.clone());
            }
        }
        let note = |item: &Item| item.as_str().map(|note| format!("[[machine]] {name}: {note}"));
        let note = fleet.get("usd_per_hour_note").and_then(note);
        fleet.insert("usd_per_hour_note", value(note.unwrap_or_else(|| format!("[[machine]] {name}"))));
        if let Some(purchase) = fleet.get_mut("purchase").and_then(Item::as_table_like_mut) {
            // Typed prices are those of the machine of `[fleet]`.
            for key in PurchaseTable::TERMS.into_iter().filter_map(PurchaseTable::key) {
                purchase.remove(key);
            }
        }
    } else if product.fleet.term != term {
        let own = fleet.remove("usd_per_hour");
        fleet.remove("usd_per_hour_note");
        // The price of the file's own term may still be bought at.
        if let (Some(own), Some(key)) = (own, PurchaseTable::key(product.fleet.term))
            && let Some(purchase) = fleet.get_mut("purchase").and_then(Item::as_table_like_mut)
            && !purchase.contains_key(key)
        {
            purchase.insert(key, own);
        }
    }
    if term != Term::Owned {
        fleet.remove("owned");
    }
    fleet.insert("term", value(term.name()));
    let mut changed = Product::parse(&file.to_string(), "product file").map_err(|error| error.to_string())?;
    changed.most_draws = product.most_draws;
    changed.machines.clear();
    changed.fleet.other_terms.clear();
    Ok(changed)
}

/// The table of a machine.
fn other(file: &DocumentMut, index: usize) -> Option<Table> {
    match file.get("machine")? {
        Item::ArrayOfTables(tables) => tables.get(index).cloned(),
        list => {
            list.as_array()?.get(index)?.as_inline_table().cloned().map(toml_edit::InlineTable::into_table)
        }
    }
}
