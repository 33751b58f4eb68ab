-- +goose Up

-- Who may do what alone, until when (ms). The epoch grows with each change of hands.
CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    until  INTEGER NOT NULL
);

-- Deferred work; a row goes when the work is done. Times are ms; until is that of the claim.
CREATE TABLE jobs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    payload  BLOB,
    due      INTEGER NOT NULL,
    holder   TEXT NOT NULL,
    until    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failed   BOOLEAN NOT NULL,
    reason   TEXT NOT NULL,
    created  INTEGER NOT NULL
);
CREATE UNIQUE INDEX jobs_key ON jobs (kind, tenant, key);
CREATE INDEX jobs_due ON jobs (kind, due);

-- +goose Down
DROP TABLE jobs;
DROP TABLE leases;
