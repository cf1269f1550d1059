-- API tokens. Only the SHA-256 of a secret is stored. A secret has 32 random bytes, so a fast hash without salt is safe.

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    secret_digest TEXT NOT NULL,
    role TEXT NOT NULL, -- automation, owner, commander, auditor, admin
    label TEXT NOT NULL,
    incident TEXT REFERENCES incidents (id), -- the only incident that it may see; NULL for all
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
