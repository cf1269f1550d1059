-- What the answers to an investigation's questions read.

-- The coverage of the item, as JSON; NULL for items that an earlier version derived.
ALTER TABLE derived_items ADD COLUMN coverage TEXT;

-- An incident's bundles, among those of all incidents.
CREATE INDEX bundles_by_incident ON bundles (incident, number);

-- The names under which people know what objects and edges identify, in lower case.
CREATE TABLE entity_names (
    incident TEXT NOT NULL,
    name TEXT NOT NULL,
    node TEXT NOT NULL, -- as in edges.from_id and edges.to_id
    PRIMARY KEY (incident, name, node)
) WITHOUT ROWID;
