-- What the collector must not forget, in SQL that SQLite and PostgreSQL both take.
-- Times are nanoseconds since 1970-01-01T00:00:00Z. Digests are 64 hex digits. JSON is text: the ledger does not look inside.
-- On PostgreSQL every TEXT is made TEXT COLLATE "C" (store/database/connect.rs), so that both databases order by bytes.

CREATE TABLE incidents (
    id TEXT NOT NULL PRIMARY KEY,
    declared_at BIGINT NOT NULL,
    entries BIGINT NOT NULL, -- how many there are, which is the seq of the next
    status TEXT NOT NULL, -- the overview's, for lists
    overview TEXT NOT NULL -- what lists show: a projection of the entries, written with each of them
);

CREATE INDEX incidents_newest ON incidents (declared_at, id);
CREATE INDEX incidents_newest_by_status ON incidents (status, declared_at, id);

-- Who has declared which incident, by the digest of the key that makes a declaration idempotent.
CREATE TABLE declarations (
    key_digest TEXT NOT NULL PRIMARY KEY,
    incident TEXT NOT NULL REFERENCES incidents (id)
);

-- The last number drawn for each name, in the transaction that uses it: a number is never drawn twice, and none is lost.
CREATE TABLE numbers (
    name TEXT NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

-- The journal of each incident. Append-only.
CREATE TABLE entries (
    incident TEXT NOT NULL REFERENCES incidents (id),
    seq BIGINT NOT NULL,
    entered_at BIGINT NOT NULL,
    entered_by TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
);

-- One capture of one source for one incident: what is to be done, how far it is, and who does it now. See ledger/passes.rs.
CREATE TABLE passes (
    incident TEXT NOT NULL REFERENCES incidents (id),
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    kind TEXT NOT NULL, -- first, continuation, settle, again
    queue TEXT NOT NULL, -- remote, local, attached: which workers may lease it
    stage TEXT NOT NULL, -- waiting, captured, signed, published, derived, failed
    due_at BIGINT NOT NULL,
    retry_at BIGINT, -- after a failure: not before this time
    failures BIGINT NOT NULL,
    worker TEXT, -- who has leased it
    leased_until BIGINT, -- milliseconds since 1970 by the clock of the database
    fencing_token BIGINT NOT NULL, -- raised by each lease; only the holder of the last one may write
    began_at BIGINT, -- when it was leased first
    plan TEXT, -- never changed once set
    supplements TEXT,
    PRIMARY KEY (incident, source, pass)
);

-- What is left to do, the next first. Passes that are done do not slow it down.
CREATE INDEX passes_leased ON passes (worker) WHERE worker IS NOT NULL;
CREATE INDEX passes_to_do ON passes (queue, due_at) WHERE stage IN ('waiting', 'captured', 'signed', 'published');

-- What has been fetched and is durable in the blob store, until it is sealed.
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

-- Steps that have ended; their pages are complete.
CREATE TABLE steps (
    incident TEXT NOT NULL,
    source TEXT NOT NULL,
    pass BIGINT NOT NULL,
    step TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (incident, source, pass, step),
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

-- Where each signing key stands: its next bundle's number, and the bundle before. And whose it is: the store that signs with it,
-- and what others check its bundles by.
CREATE TABLE streams (
    key_id TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    store TEXT NOT NULL,
    public_key TEXT NOT NULL, -- PEM
    next_seq BIGINT NOT NULL,
    prev TEXT
);

-- The one bundle of each stream that is signed, may have been published, and is not committed yet.
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

CREATE TABLE bundles (
    number BIGINT NOT NULL PRIMARY KEY, -- in the order of their commits, over all streams
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
    duplicate_of TEXT, -- the bundle of the same pass that was committed before this one
    UNIQUE (stream, seq),
    FOREIGN KEY (incident, source, pass) REFERENCES passes (incident, source, pass)
);

CREATE UNIQUE INDEX bundle_of_pass ON bundles (incident, source, pass) WHERE duplicate_of IS NULL;

-- The timeline. Derived from bundles by pure code, so it can be made again. Facts come by the million: each index costs a third
-- of their speed.
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
