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

-- The timeline. Pure code derives it from bundles, so it can be rebuilt. A capture may add millions of facts, and each index costs a
-- third of the insert speed.
CREATE TABLE facts (
    bundle BIGINT NOT NULL REFERENCES bundles (number),
    item TEXT NOT NULL,
    record BIGINT NOT NULL,
    incident TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,
    event_id TEXT,
    PRIMARY KEY (bundle, item, record)
);

CREATE INDEX facts_by_time ON facts (incident, happened_at, bundle, item, record);
