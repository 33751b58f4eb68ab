-- +goose Up

-- The rules of a tenant, as the newest fact of each name states them; sealed: who stated them, and the document.
CREATE TABLE rule_sets (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    fact   BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- Legal holds. study and patient are keyed hashes of which one is zero. lifted: two persons released it.
CREATE TABLE holds (
    tenant  INTEGER NOT NULL,
    fact    BLOB NOT NULL,
    study   BLOB NOT NULL,
    patient BLOB NOT NULL,
    lifted  BOOLEAN NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (tenant, fact)
) WITHOUT ROWID;
CREATE INDEX holds_study ON holds (tenant, study) WHERE NOT lifted;
CREATE INDEX holds_patient ON holds (tenant, patient) WHERE NOT lifted;

-- Who released which hold; a release may come before its hold does.
CREATE TABLE releases (
    tenant INTEGER NOT NULL,
    hold   BLOB NOT NULL,
    fact   BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, hold, fact)
) WITHOUT ROWID;

-- What was deleted since a moment.
CREATE INDEX tombstones_fact ON tombstones (tenant, fact, blob) WHERE NOT void;

-- +goose Down
DROP INDEX tombstones_fact;
DROP TABLE releases;
DROP TABLE holds;
DROP TABLE rule_sets;
