-- What the answers to an investigation's questions read.

-- The coverage of the item, as JSON; NULL for items that an earlier version derived.
ALTER TABLE derived_items ADD COLUMN coverage TEXT;

-- An incident's bundles, among those of all incidents.
CREATE INDEX bundles_by_incident ON bundles (incident, number);

-- The ids and names under which objects and edges are looked up, in lower case, and what each means.
CREATE TABLE entity_names (
    incident TEXT NOT NULL,
    name TEXT NOT NULL,
    entity TEXT NOT NULL, -- 32 hex digits: a digest of the body
    body TEXT NOT NULL, -- kind, id, name and scope as canonical JSON
    PRIMARY KEY (incident, name, entity)
) WITHOUT ROWID;

-- Objects of which a record says when they were created.
CREATE INDEX objects_by_creation ON objects (incident, created_at) WHERE created_at IS NOT NULL;
