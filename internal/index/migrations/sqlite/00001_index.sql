-- +goose Up

-- Facts are the truth; everything here can be made again from them. Text that says something
-- about a person is only ever in a column named "sealed"; "ref", "sop" and "token" are keyed hashes.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenants (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- How much of each session's log is applied: 1 to high without a gap, and the rows of ahead.
-- "last" and "ended" are what checkpoints state.
CREATE TABLE sessions (
    id     INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    high   INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    ended  BOOLEAN NOT NULL,
    UNIQUE (tenant, name)
);

CREATE TABLE ahead (
    session INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (session, n)
) WITHOUT ROWID;

-- Beginnings of object names, so that instance rows need not repeat them.
CREATE TABLE prefixes (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

-- Packs that instance rows lie in. Log objects are known by their session and number.
CREATE TABLE packs (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- skey is study day << 28 | id, NULL while nothing of the study is visible. mods is a set of modalities.
CREATE TABLE studies (
    id     INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    ref    BLOB NOT NULL,
    skey   INTEGER,
    mods   INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE UNIQUE INDEX studies_ref ON studies (tenant, ref);
CREATE INDEX studies_day ON studies (tenant, skey, mods);

CREATE TABLE series (
    id     INTEGER PRIMARY KEY,
    study  INTEGER NOT NULL,
    ref    BLOB NOT NULL,
    sealed BLOB NOT NULL
);
CREATE UNIQUE INDEX series_study ON series (study, ref);
CREATE INDEX series_ref ON series (ref);

-- One row a blob, versions that are hidden or deleted included. id is series << 24 | ordinal, so that a
-- series lies together and needs no index. sop is the only key in random order.
CREATE TABLE instances (
    id     INTEGER PRIMARY KEY,
    sop    INTEGER NOT NULL,
    state  INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX instances_sop ON instances (sop);

-- DICOM JSON in zstd. id is that of the first instance of the chunk.
CREATE TABLE chunks (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
);

-- Where instances of a study or series disagree: the distinct sets of attributes and how many
-- visible instances have each. owner is study id << 1, or series id << 1 | 1.
CREATE TABLE variants (
    owner  INTEGER NOT NULL,
    no     INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    n      INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (owner, no)
) WITHOUT ROWID;
CREATE UNIQUE INDEX variants_hash ON variants (owner, hash);

-- Where a study has several modalities (kind 0) or SOP classes (kind 1): how many visible series or instances have each.
CREATE TABLE facets (
    study  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    token  INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (study, kind, token)
) WITHOUT ROWID;

-- Which deletions name a blob; void where an undeletion says that it no longer holds.
-- A row may come before the blob, or before the deletion.
CREATE TABLE tombstones (
    tenant INTEGER NOT NULL,
    blob   BLOB NOT NULL,
    fact   BLOB NOT NULL,
    void   BOOLEAN NOT NULL,
    study  BLOB NOT NULL,
    PRIMARY KEY (tenant, blob, fact)
) WITHOUT ROWID;

-- id is tenant << 44 | sequence.
CREATE TABLE changes (
    id       INTEGER PRIMARY KEY,
    time     INTEGER NOT NULL,
    action   INTEGER NOT NULL,
    instance INTEGER NOT NULL
);
CREATE INDEX changes_rare ON changes (action, id) WHERE action <> 1;

-- The distinct words of each attribute, many to a page. Tag 0: words of any attribute, just added.
CREATE TABLE words (
    id     INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    tag    INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX words_tag ON words (tenant, tag);

-- rowid is the study's skey, so that every posting list is ordered by study date.
CREATE VIRTUAL TABLE postings USING fts5(
    terms, content='', contentless_delete=1, detail=none, tokenize='ascii'
);

-- +goose Down
DROP TABLE postings;
DROP TABLE words;
DROP TABLE changes;
DROP TABLE tombstones;
DROP TABLE facets;
DROP TABLE variants;
DROP TABLE chunks;
DROP TABLE instances;
DROP TABLE series;
DROP TABLE studies;
DROP TABLE packs;
DROP TABLE prefixes;
DROP TABLE ahead;
DROP TABLE sessions;
DROP TABLE tenants;
DROP TABLE settings;
