-- +goose Up

-- As in ../sqlite/00003_tenants.sql. No row-level security: nodes work for all tenants.
CREATE TABLE tenant_settings (
    tenant   INTEGER PRIMARY KEY,
    fact     BYTEA NOT NULL,
    created  BIGINT NOT NULL,
    changed  BIGINT NOT NULL,
    settings TEXT NOT NULL
);

-- +goose Down
DROP TABLE tenant_settings;
