-- Who may ask the API, and for what. Of a secret only the SHA-256 is kept: it is 32 random bytes, which nobody guesses.

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    secret_digest TEXT NOT NULL,
    role TEXT NOT NULL, -- automation, owner, commander, auditor, admin
    label TEXT NOT NULL,
    incident TEXT REFERENCES incidents (id), -- the only one that it may see; absent is all
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
