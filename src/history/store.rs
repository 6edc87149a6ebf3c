//! The database: one row a run, with measurement and plan as the JSON that their files hold, and a row a tag.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use breakeven_measurement::Measurement;
use breakeven_planner::Plan;
use rusqlite::{Connection, params};

/// Version of the tables, in the database's own `user_version`. Migrations run in order from the version found.
const VERSION: u32 = 1;

/// The statements that lead from each version to the next.
const MIGRATIONS: [&str; VERSION as usize] = ["CREATE TABLE run (run_id TEXT PRIMARY KEY, started TEXT NOT NULL, measurement TEXT NOT NULL, plan TEXT) STRICT;
     CREATE TABLE tag (run_id TEXT NOT NULL REFERENCES run (run_id) ON DELETE CASCADE, tag TEXT NOT NULL, PRIMARY KEY (run_id, tag)) STRICT;"];

/// One run.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) run_id: String,
    pub(super) measurement: Measurement,
    pub(super) plan: Option<Plan>,
    pub(super) tags: Vec<String>,
}

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens a database, or begins one; an older one is brought to this version's tables.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        }
        let failed = || format!("cannot open the history `{}`", path.display());
        let mut connection = Connection::open(path).with_context(failed)?;
        connection.pragma_update(None, "foreign_keys", true).with_context(failed)?;
        let found: u32 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).with_context(failed)?;
        if found > VERSION {
            bail!(
                "`{}` was written by a newer version (tables {found}, this one knows {VERSION}): use that version",
                path.display()
            );
        }
        let change = connection.transaction().with_context(failed)?;
        for statements in MIGRATIONS.iter().skip(usize::try_from(found)?) {
            change.execute_batch(statements).with_context(failed)?;
        }
        change.pragma_update(None, "user_version", VERSION).with_context(failed)?;
        change.commit().with_context(failed)?;
        Ok(Self { connection })
    }

    /// Keeps a run; one that is there already is replaced, its tags stay, and its plan too where no new one comes.
    pub(super) fn add(&self, entry: &Entry) -> Result<()> {
        let measurement =
            serde_json::to_string(&entry.measurement).context("cannot encode the measurement")?;
        let plan =
            entry.plan.as_ref().map(serde_json::to_string).transpose().context("cannot encode the plan")?;
        self.connection
            .execute(
                "INSERT INTO run (run_id, started, measurement, plan) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (run_id) DO UPDATE SET measurement = ?3, plan = coalesce(?4, plan)",
                params![entry.run_id, entry.measurement.started.to_string(), measurement, plan],
            )
            .context("cannot keep the run")?;
        self.tag(&entry.run_id, &entry.tags, &[])
    }

    /// Adds and removes tags.
    pub(super) fn tag(&self, run_id: &str, add: &[String], remove: &[String]) -> Result<()> {
        for tag in add {
            self.connection
                .execute("INSERT OR IGNORE INTO tag (run_id, tag) VALUES (?1, ?2)", params![run_id, tag])
                .context("cannot tag the run")?;
        }
        for tag in remove {
            self.connection
                .execute("DELETE FROM tag WHERE run_id = ?1 AND tag = ?2", params![run_id, tag])
                .context("cannot take the tag away")?;
        }
        Ok(())
    }

    /// The runs, newest first; those with a tag where one is given.
    pub(super) fn entries(&self, tag: Option<&str>) -> Result<Vec<Entry>> {
        let mut tags = self.connection.prepare("SELECT tag FROM tag WHERE run_id = ?1 ORDER BY tag")?;
        let mut runs = self
            .connection
            .prepare("SELECT run_id, measurement, plan FROM run ORDER BY started DESC, run_id")?;
        let rows = runs.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })?;
        let mut entries = Vec::new();
        for row in rows {
            let (run_id, measurement, plan) = row.context("cannot read the history")?;
            let of: BTreeSet<String> = tags
                .query_map([&run_id], |row| row.get(0))?
                .collect::<Result<_, _>>()
                .context("cannot read tags")?;
            if tag.is_some_and(|tag| !of.contains(tag)) {
                continue;
            }
            let unread =
                || format!("run {run_id} was kept by another version and does not open; measure again");
            entries.push(Entry {
                measurement: serde_json::from_str(&measurement).with_context(unread)?,
                plan: plan.map(|plan| serde_json::from_str(&plan)).transpose().with_context(unread)?,
                tags: of.into_iter().collect(),
                run_id,
            });
        }
        Ok(entries)
    }
}
