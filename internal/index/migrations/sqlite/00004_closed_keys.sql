-- +goose Up

-- Study keys that are destroyed, as the smallest fact that names each has it; until is the latest of all facts, in ms.
-- study, patient and issued are keyed hashes, zero where there is none. purged: every copy was destroyed once, which no fact says.
CREATE TABLE closed_keys (
    tenant    INTEGER NOT NULL,
    key       BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    fact      BLOB NOT NULL,
    study     BLOB NOT NULL,
    patient   BLOB NOT NULL,
    issued    BLOB NOT NULL,
    instances INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    purged    BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX closed_keys_seq ON closed_keys (tenant, seq);
CREATE INDEX closed_keys_left ON closed_keys (tenant, seq) WHERE NOT purged;
CREATE INDEX closed_keys_study ON closed_keys (tenant, study);
CREATE INDEX closed_keys_patient ON closed_keys (tenant, patient);

-- +goose Down
DROP TABLE closed_keys;
