-- +goose Up

-- What the newest tenant fact states. It says nothing about a person, and must be
-- readable while the tenant's key is not: it tells where that key is.
CREATE TABLE tenant_settings (
    tenant   INTEGER PRIMARY KEY,
    fact     BLOB NOT NULL,
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    settings TEXT NOT NULL
);

-- +goose Down
DROP TABLE tenant_settings;
