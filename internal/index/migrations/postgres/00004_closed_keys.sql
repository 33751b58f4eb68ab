-- +goose Up

-- As in ../sqlite/00004_closed_keys.sql.
CREATE TABLE closed_keys (
    tenant    INTEGER NOT NULL,
    key       BYTEA NOT NULL,
    seq       BIGINT NOT NULL,
    fact      BYTEA NOT NULL,
    study     BYTEA NOT NULL,
    patient   BYTEA NOT NULL,
    issued    BYTEA NOT NULL,
    instances BIGINT NOT NULL,
    until     BIGINT NOT NULL,
    purged    BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE UNIQUE INDEX closed_keys_seq ON closed_keys (tenant, seq);
CREATE INDEX closed_keys_left ON closed_keys (tenant, seq) WHERE NOT purged;
CREATE INDEX closed_keys_study ON closed_keys (tenant, study);
CREATE INDEX closed_keys_patient ON closed_keys (tenant, patient);

ALTER TABLE closed_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON closed_keys USING (tenant = (SELECT NULLIF(current_setting('strata.tenant', true), '')::integer));

-- +goose Down
DROP TABLE closed_keys;
