//! Reads edges by what they join, entities by their names, and differences between passes.

use std::collections::BTreeSet;

use evidence_derive::{EntityRef, ObjectEdge, ObservedObject};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, query};

use super::RecordPointer;
use super::insert::node_of;
use super::read::json;
use super::terms::term;
use crate::database::rows::{
    digest, fetch_all, fetch_first, get, nanoseconds, number, parsed, time, to_i64,
};
use crate::ledger::{Ledger, LedgerError};

/// Nodes whose edges one statement reads.
const NODES_AT_ONCE: usize = 100;
/// Entities that one name may mean.
const ENTITIES_NAMED_MAX: i64 = 50;

/// An edge, and a record that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRow {
    pub edge: ObjectEdge,
    pub source: String,
    pub bundle: Digest,
    pub sealed_at: Timestamp,
    pub pointer: RecordPointer,
}

/// An object, and a record that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedObject {
    pub object: ObservedObject,
    pub source: String,
    pub bundle: Digest,
    pub sealed_at: Timestamp,
    pub pointer: RecordPointer,
}

/// Edges of one item that differ between two bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeComparison {
    pub appeared: Vec<EdgeRow>,
    /// As the earlier bundle has them.
    pub gone: Vec<EdgeRow>,
}

impl Ledger {
    /// The edges of `incident` that begin or end at one of `nodes`, the newest record first, and
    /// true if there are more than `limit` for some of them.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn edges_at(
        &self,
        incident: &IncidentId,
        nodes: &[EntityRef],
        limit: u32,
    ) -> Result<(Vec<EdgeRow>, bool), LedgerError> {
        let nodes: BTreeSet<String> = nodes.iter().map(node_of).collect();
        let nodes: Vec<String> = nodes.into_iter().collect();
        let (mut edges, mut is_cut) = (Vec::new(), false);
        for nodes in nodes.chunks(NODES_AT_ONCE) {
            for column in ["from_id", "to_id"] {
                let sql = &edges_statement(column, nodes.len());
                let found = self
                    .db
                    .read::<_, LedgerError, _>("read the edges", |mut db| async move {
                        let mut select = query(AssertSqlSafe(sql.clone()))
                            .bind(incident.as_str())
                            .bind(to_i64(u64::from(limit) + 1));
                        for node in nodes {
                            select = select.bind(node.as_str());
                        }
                        fetch_all(&mut db, select, edge_row).await
                    })
                    .await?;
                is_cut |= found.len() > limit as usize;
                edges.extend(found);
            }
        }
        Ok((edges, is_cut))
    }

    /// What `name` means in the objects and edges of `incident`: an id or a name, in any case. At
    /// most 50.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn entities_named(
        &self,
        incident: &IncidentId,
        name: &str,
    ) -> Result<Vec<EntityRef>, LedgerError> {
        let name = &term(name);
        self.db
            .read("find the name", |mut db| async move {
                let select = query(ENTITIES_NAMED)
                    .bind(incident.as_str())
                    .bind(name.as_str())
                    .bind(ENTITIES_NAMED_MAX);
                fetch_all(&mut db, select, |row| json(row, "body")).await
            })
            .await
    }

    /// The sources of `incident` whose records show edges.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sources_with_edges(
        &self,
        incident: &IncidentId,
    ) -> Result<BTreeSet<String>, LedgerError> {
        self.db
            .read("list sources with edges", |mut db| async move {
                let select = query(SOURCES_WITH_EDGES).bind(incident.as_str());
                let sources = fetch_all(&mut db, select, |row| get(row, "source")).await?;
                Ok(sources.into_iter().collect())
            })
            .await
    }

    /// Objects of `incident` of which a record says that they were created from `from` on and before
    /// `until`, and of which no event of the same record tells. Each record counts, so that objects
    /// repeat; at most `limit`.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn created_objects(
        &self,
        incident: &IncidentId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<CreatedObject>, LedgerError> {
        let first = from.map_or(i64::MIN, nanoseconds);
        let last = until.map_or(i64::MAX, |until| nanoseconds(until).saturating_sub(1));
        self.db
            .read("list new objects", |mut db| async move {
                let select = query(CREATED_OBJECTS)
                    .bind(incident.as_str())
                    .bind(first)
                    .bind(last)
                    .bind(to_i64(limit.into()));
                fetch_all(&mut db, select, created_object).await
            })
            .await
    }

    /// Compares the edges of an item of `bundle` with those of the item in the bundle `before`.
    /// Returns at most `limit` of each kind.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn compare_edges(
        &self,
        before: &Digest,
        bundle: &Digest,
        item: &ItemName,
        limit: u32,
    ) -> Result<EdgeComparison, LedgerError> {
        self.db
            .read("compare the edges", |mut db| async move {
                let mut found = Vec::new();
                for (of, without) in [(bundle, before), (before, bundle)] {
                    let number_of = |id: &Digest| {
                        query("SELECT number FROM bundles WHERE id = $1").bind(id.hex())
                    };
                    let read = |row: &AnyRow| number::<i64>(row, "number");
                    let of = fetch_first(&mut db, number_of(of), read).await?;
                    let without = fetch_first(&mut db, number_of(without), read).await?;
                    let select = query(EDGE_DIFFERENCE)
                        .bind(of)
                        .bind(without)
                        .bind(item.as_str())
                        .bind(to_i64(limit.into()));
                    found.push(fetch_all(&mut db, select, edge_row).await?);
                }
                let gone = found.pop().unwrap_or_default();
                let appeared = found.pop().unwrap_or_default();
                Ok(EdgeComparison { appeared, gone })
            })
            .await
    }
}

/// The edges with one of `nodes` nodes, which begin at `$3`, in `column`.
pub(in crate::ledger) fn edges_statement(column: &str, nodes: usize) -> String {
    let nodes: Vec<String> = (3..3 + nodes)
        .map(|parameter| format!("${parameter}"))
        .collect();
    format!(
        "SELECT edges.body, edges.item, edges.record, bundles.id AS bundle_id, bundles.sealed_at,
            bundles.source
        FROM edges JOIN bundles ON bundles.number = edges.bundle
        WHERE edges.incident = $1 AND edges.{column} IN ({})
        ORDER BY edges.bundle DESC, edges.item, edges.record, edges.part LIMIT $2",
        nodes.join(", ")
    )
}

pub(in crate::ledger) const SOURCES_WITH_EDGES: &str =
    "SELECT DISTINCT bundles.source FROM bundles WHERE bundles.incident = $1
        AND EXISTS (SELECT 1 FROM edges WHERE edges.bundle = bundles.number)";

pub(in crate::ledger) const ENTITIES_NAMED: &str =
    "SELECT body FROM entity_names WHERE incident = $1 AND name = $2 ORDER BY entity LIMIT $3";

pub(in crate::ledger) const CREATED_OBJECTS: &str =
    "SELECT objects.body, objects.item, objects.record, bundles.id AS bundle_id, bundles.sealed_at,
        bundles.source
    FROM objects JOIN bundles ON bundles.number = objects.bundle
    WHERE objects.incident = $1 AND objects.created_at BETWEEN $2 AND $3
        AND NOT EXISTS (
            SELECT 1 FROM event_records WHERE event_records.bundle = objects.bundle
                AND event_records.item = objects.item AND event_records.record = objects.record)
    ORDER BY objects.created_at, objects.bundle LIMIT $4";

pub(in crate::ledger) const EDGE_DIFFERENCE: &str = "WITH difference AS (
        SELECT incident, from_id, body FROM edges WHERE bundle = $1 AND item = $3
        EXCEPT
        SELECT incident, from_id, body FROM edges WHERE bundle = $2 AND item = $3
        ORDER BY from_id, body LIMIT $4)
    SELECT these.body, these.item, MIN(these.record) AS record, bundles.id AS bundle_id,
        bundles.sealed_at, bundles.source
    FROM difference
        CROSS JOIN edges AS these
        CROSS JOIN bundles
    WHERE these.incident = difference.incident AND these.from_id = difference.from_id
        AND these.body = difference.body AND these.bundle = $1 AND these.item = $3
        AND bundles.number = these.bundle
    GROUP BY these.body, these.item, bundles.id, bundles.sealed_at, bundles.source
    ORDER BY these.body";

fn edge_row(row: &AnyRow) -> Result<EdgeRow, sqlx::Error> {
    Ok(EdgeRow {
        edge: json(row, "body")?,
        source: get(row, "source")?,
        bundle: digest(row, "bundle_id")?,
        sealed_at: time(row, "sealed_at")?,
        pointer: pointer(row)?,
    })
}

fn created_object(row: &AnyRow) -> Result<CreatedObject, sqlx::Error> {
    Ok(CreatedObject {
        object: json(row, "body")?,
        source: get(row, "source")?,
        bundle: digest(row, "bundle_id")?,
        sealed_at: time(row, "sealed_at")?,
        pointer: pointer(row)?,
    })
}

fn pointer(row: &AnyRow) -> Result<RecordPointer, sqlx::Error> {
    Ok(RecordPointer {
        item: parsed(row, "item")?,
        record: number(row, "record")?,
    })
}
