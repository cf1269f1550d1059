-- Agents on hosts: who admits them, who they are, what was found about them. See src/ledger/agents/mod.rs.

-- The authorities that issue certificates of agents and collectors. The newest one issues; agents believe all.
CREATE TABLE agent_authorities (
    generation BIGINT NOT NULL PRIMARY KEY, -- from 1
    certificate TEXT NOT NULL, -- PEM
    secret_key TEXT NOT NULL, -- PEM
    created_at BIGINT NOT NULL
);

-- Enrolment tokens. Only the SHA-256 of a secret is stored.
CREATE TABLE agent_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    secret_digest TEXT NOT NULL,
    labels TEXT NOT NULL, -- JSON; the labels of the agents that it admits
    uses_max BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE agents (
    id TEXT NOT NULL PRIMARY KEY,
    tls_key TEXT NOT NULL, -- base64 of its SubjectPublicKeyInfo
    bundle_key TEXT NOT NULL, -- the same
    token TEXT NOT NULL REFERENCES agent_tokens (id), -- by which it was admitted
    labels TEXT NOT NULL, -- JSON
    facts TEXT NOT NULL, -- JSON; what it says about its host
    generation BIGINT NOT NULL, -- number of its certificates
    nonce TEXT NOT NULL, -- of the request that was answered with the current certificate
    certificate TEXT NOT NULL, -- PEM
    certificate_digest TEXT NOT NULL, -- hex SHA-256 of its DER
    certificate_until BIGINT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL, -- last contact; written in batches
    spool TEXT NOT NULL, -- JSON; what it had not delivered at its last contact
    locked_at BIGINT,
    locked_reason TEXT,
    revoked_at BIGINT,
    revoked_reason TEXT
);

CREATE INDEX agents_by_certificate ON agents (certificate_digest);

-- What went wrong with agents, such as two users of one key.
CREATE TABLE agent_findings (
    number BIGINT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL REFERENCES agents (id),
    found_at BIGINT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX agent_findings_of ON agent_findings (agent, number);

-- Orders: passes that an agent has to capture.
CREATE INDEX passes_of_agents ON passes (source) WHERE queue = 'agent' AND stage = 'waiting';
