-- +goose Up

-- As in ../sqlite/00007_holds.sql.
CREATE TABLE rule_sets (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    fact   BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE holds (
    tenant  INTEGER NOT NULL,
    fact    BYTEA NOT NULL,
    study   BYTEA NOT NULL,
    patient BYTEA NOT NULL,
    lifted  BOOLEAN NOT NULL,
    sealed  BYTEA NOT NULL,
    PRIMARY KEY (tenant, fact)
);
CREATE INDEX holds_study ON holds (tenant, study) WHERE NOT lifted;
CREATE INDEX holds_patient ON holds (tenant, patient) WHERE NOT lifted;

CREATE TABLE releases (
    tenant INTEGER NOT NULL,
    hold   BYTEA NOT NULL,
    fact   BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, hold, fact)
);

ALTER TABLE rule_sets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rule_sets USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));
ALTER TABLE holds ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON holds USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));
ALTER TABLE releases ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON releases USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));

-- What was deleted since a moment.
CREATE INDEX tombstones_fact ON tombstones (tenant, fact, blob) WHERE NOT void;

-- +goose Down
DROP INDEX tombstones_fact;
DROP TABLE releases;
DROP TABLE holds;
DROP TABLE rule_sets;
