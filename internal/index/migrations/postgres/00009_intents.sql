-- +goose Up

-- As in ../sqlite/00009_intents.sql.
CREATE TABLE intents (
    tenant  INTEGER NOT NULL,
    study   BYTEA NOT NULL,
    session TEXT NOT NULL,
    n       BIGINT NOT NULL,
    PRIMARY KEY (tenant, study, session, n)
);

CREATE TABLE deletions (
    tenant  INTEGER NOT NULL,
    fact    BYTEA NOT NULL,
    session TEXT NOT NULL,
    n       BIGINT NOT NULL,
    PRIMARY KEY (tenant, fact)
);

ALTER TABLE intents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON intents USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));
ALTER TABLE deletions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON deletions USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));

-- +goose Down
DROP TABLE deletions;
DROP TABLE intents;
