-- The tables of the ledger, in SQL that both SQLite and PostgreSQL accept.
-- Times are nanoseconds since 1970-01-01T00:00:00Z. Digests are 64 hex digits. JSON is stored as text: no query looks inside.
-- On PostgreSQL, every TEXT becomes TEXT COLLATE "C" (src/database/connect.rs), so that both databases order by bytes.

CREATE TABLE incidents (
    id TEXT NOT NULL PRIMARY KEY,
    declared_at BIGINT NOT NULL,
    entries BIGINT NOT NULL, -- number of entries, and the seq of the next one
    status TEXT NOT NULL, -- status of the overview, for filtering lists
    overview TEXT NOT NULL -- JSON; a projection of the entries for lists, updated with each append
);

CREATE INDEX incidents_newest ON incidents (declared_at, id);
CREATE INDEX incidents_newest_by_status ON incidents (status, declared_at, id);

-- Idempotency keys of declarations, and keys of messages about an incident. Only the digest of a key is stored.
CREATE TABLE declarations (
    key_digest TEXT NOT NULL PRIMARY KEY,
    incident TEXT NOT NULL REFERENCES incidents (id)
);

-- Counters. The transaction that uses a number also draws it: none is used twice, and a rollback leaves no hole.
CREATE TABLE numbers (
    name TEXT NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

-- The journals of incidents. Append-only; seq counts from 0.
CREATE TABLE entries (
    incident TEXT NOT NULL REFERENCES incidents (id),
    seq BIGINT NOT NULL,
    entered_at BIGINT NOT NULL,
    entered_by TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
);

-- Passes, each one capture of one source for one incident: the work, its progress, its worker. See src/ledger/passes/mod.rs.
CREATE TABLE passes (
    incident TEXT NOT NULL REFERENCES incidents (id),
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    kind TEXT NOT NULL, -- first, continuation, settle, again
    queue TEXT NOT NULL, -- remote, local, attached: the workers that may lease it
    stage TEXT NOT NULL, -- waiting, captured, signed, published, derived, failed
    due_at BIGINT NOT NULL,
    retry_at BIGINT, -- after a failure: not leased before this time
    failures BIGINT NOT NULL, -- since the pass entered its stage
    worker TEXT, -- holder of the lease; NULL if it is free
    leased_until BIGINT, -- milliseconds since 1970, by the clock of the database
    fencing_token BIGINT NOT NULL, -- raised by each lease; only the holder of the last lease may write
    began_at BIGINT, -- time of the first lease
    plan TEXT, -- JSON; never changes once set
    supplements TEXT, -- the bundle that the bundle of this pass supplements
    PRIMARY KEY (incident, source, pass)
);

-- Partial indexes: they hold only passes that are leased or not done, and stay small as finished passes accumulate.
CREATE INDEX passes_leased ON passes (worker) WHERE worker IS NOT NULL;
CREATE INDEX passes_to_do ON passes (queue, due_at) WHERE stage IN ('waiting', 'captured', 'signed', 'published');

-- Pages that are durable in the blob store and not sealed yet.
CREATE TABLE pages (
    incident TEXT NOT NULL,
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    step TEXT NOT NULL,
    seq BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    next_cursor TEXT,
    PRIMARY KEY (incident, source, pass, step, seq),
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

-- Steps that have ended: their pages are complete.
CREATE TABLE steps (
    incident TEXT NOT NULL,
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    step TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (incident, source, pass, step),
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

-- The stream of each signing key: its next sequence number and its last bundle; the store that owns the key; and the public key, by
-- which other stores verify its bundles.
CREATE TABLE streams (
    key_id TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    store TEXT NOT NULL,
    public_key TEXT NOT NULL, -- PEM
    next_seq BIGINT NOT NULL,
    prev TEXT
);

-- The prepared bundle of each stream, at most one: signed, perhaps published, not committed yet.
CREATE TABLE pending (
    key_id TEXT NOT NULL PRIMARY KEY REFERENCES streams (key_id),
    seq BIGINT NOT NULL,
    bundle TEXT NOT NULL,
    incident TEXT NOT NULL,
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

-- Committed bundles.
CREATE TABLE bundles (
    number BIGINT NOT NULL PRIMARY KEY, -- commit number, over all streams
    id TEXT NOT NULL UNIQUE,
    incident TEXT NOT NULL,
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    key_id TEXT NOT NULL REFERENCES streams (key_id),
    stream TEXT NOT NULL,
    seq BIGINT NOT NULL,
    prev TEXT,
    sealed_at BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    coverage TEXT NOT NULL,
    duplicate_of TEXT, -- the first bundle of the same pass, if this is a later one
    UNIQUE (stream, seq),
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

CREATE UNIQUE INDEX bundle_of_pass ON bundles (incident, source, pass) WHERE duplicate_of IS NULL;

-- What the records of bundles tell of. Pure code derives these tables from bundles, so they can be rebuilt. A capture may add millions of
-- rows, and each index costs insert speed.

-- One row for each event of an incident, however many records deliver it. The first record that delivered it has made the row.
CREATE TABLE events (
    incident TEXT NOT NULL,
    id TEXT NOT NULL, -- 32 hex digits: a digest of the source, the account and the provider's id, or else of the record
    happened_at BIGINT NOT NULL,
    ordinal BIGINT NOT NULL, -- order among events of the same time
    source TEXT NOT NULL,
    account TEXT,
    kind TEXT NOT NULL,
    class BIGINT NOT NULL,
    activity BIGINT NOT NULL,
    category TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT, -- id of the actor; event_terms also has its name
    credential TEXT,
    address TEXT,
    event_id TEXT, -- the provider's id
    body TEXT NOT NULL, -- the whole event as canonical JSON
    PRIMARY KEY (incident, id)
);

CREATE INDEX events_by_time ON events (incident, happened_at, ordinal, id);
CREATE INDEX events_by_category ON events (incident, category, happened_at, ordinal, id);

-- The records that deliver each event. The columns of the key come first: SQLite 3.40, which many systems still have, says
-- "NULL value in event_records.incident" to `PRAGMA integrity_check` otherwise, of values that are not NULL.
CREATE TABLE event_records (
    bundle BIGINT NOT NULL REFERENCES bundles (number),
    item TEXT NOT NULL,
    record BIGINT NOT NULL,
    event TEXT NOT NULL,
    incident TEXT NOT NULL,
    PRIMARY KEY (bundle, item, record, event)
) WITHOUT ROWID;

CREATE INDEX event_records_by_event ON event_records (incident, event, bundle, item, record);

-- The names by which an event is found: ids and names of its actor, credential, targets and address, in lower case.
CREATE TABLE event_terms (
    incident TEXT NOT NULL,
    role TEXT NOT NULL, -- actor, credential, target, address
    term TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (incident, role, term, happened_at, ordinal, event)
) WITHOUT ROWID;

-- The items of bundles whose facts are all here.
CREATE TABLE derived_items (
    bundle BIGINT NOT NULL REFERENCES bundles (number),
    item TEXT NOT NULL,
    complete BIGINT NOT NULL, -- 1 if its coverage has no gap
    asked_from BIGINT, -- the requested window; NULL for state
    asked_until BIGINT,
    unreadable BIGINT NOT NULL, -- records that no deriver could read
    PRIMARY KEY (bundle, item)
);

-- What a snapshot shows to exist. Two passes are compared by the versions.
CREATE TABLE objects (
    bundle BIGINT NOT NULL REFERENCES bundles (number),
    item TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL, -- account, organization or cluster; empty if unknown
    id TEXT NOT NULL,
    incident TEXT NOT NULL,
    record BIGINT NOT NULL,
    version TEXT NOT NULL,
    created_at BIGINT,
    summary TEXT NOT NULL,
    body TEXT NOT NULL, -- the whole object as canonical JSON
    PRIMARY KEY (bundle, item, kind, scope, id)
);

CREATE INDEX objects_by_id ON objects (incident, id);

-- How objects are related.
CREATE TABLE edges (
    bundle BIGINT NOT NULL REFERENCES bundles (number),
    item TEXT NOT NULL,
    record BIGINT NOT NULL,
    part BIGINT NOT NULL, -- index among the edges of the record
    incident TEXT NOT NULL,
    from_id TEXT NOT NULL,
    relation TEXT NOT NULL,
    to_id TEXT NOT NULL,
    body TEXT NOT NULL, -- the whole edge as canonical JSON
    PRIMARY KEY (bundle, item, record, part)
);

CREATE INDEX edges_by_from ON edges (incident, from_id);
CREATE INDEX edges_by_to ON edges (incident, to_id);
