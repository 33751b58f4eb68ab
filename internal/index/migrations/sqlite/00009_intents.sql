-- +goose Up

-- What is about to be stated of a study and cannot be undone, by its place in the log.
CREATE TABLE intents (
    tenant  INTEGER NOT NULL,
    study   BLOB NOT NULL,
    session TEXT NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (tenant, study, session, n)
) WITHOUT ROWID;

-- Where deletions are in the log: the store knows since when they are there. Those indexed by an older version have none.
CREATE TABLE deletions (
    tenant  INTEGER NOT NULL,
    fact    BLOB NOT NULL,
    session TEXT NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (tenant, fact)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE deletions;
DROP TABLE intents;
