-- +goose Up

-- Packs of studies, and in which tier they are: as the settled or moved fact with the greatest id says that names them, or
-- hot where fact is empty. refs is how many live entries name the pack; gone: it was the last one that went. size 0 and an empty digest: not known.
-- restored: until when (ms) a readable copy stays of what a tier keeps unreadable; no fact says so.
ALTER TABLE packs RENAME TO packs_before;
CREATE TABLE packs (
    id       INTEGER PRIMARY KEY,
    tenant   INTEGER NOT NULL,
    name     TEXT NOT NULL,
    study    BLOB NOT NULL,
    tier     TEXT NOT NULL,
    fact     BLOB NOT NULL,
    size     INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    refs     INTEGER NOT NULL,
    gone     BOOLEAN NOT NULL,
    restored INTEGER NOT NULL
);
CREATE UNIQUE INDEX packs_name ON packs (tenant, name);
CREATE INDEX packs_study ON packs (tenant, study);
-- What an older version knew is kept for good: of which entry it was, only a rebuild tells.
INSERT INTO packs (tenant, name, study, tier, fact, size, digest, refs, gone, restored)
    SELECT tenant, name, zeroblob(16), 'hot', zeroblob(0), 0, zeroblob(0), 1, FALSE, 0 FROM packs_before;
DROP TABLE packs_before;

-- Which packs instances of a series lie in.
CREATE TABLE pack_series (
    series INTEGER NOT NULL,
    pack   INTEGER NOT NULL,
    PRIMARY KEY (series, pack)
) WITHOUT ROWID;

-- Live entries of the log about studies: stored, settled and moved facts that no settled fact supersedes. key is that of the
-- fact, zero where it is the tenant root; packs are the names of the packs that it names, a line each, or NULL.
-- closed: its key was destroyed; it says nothing any more, and its object stays in the log.
-- passed: it was superseded, and stays as long as something is stated nowhere else.
CREATE TABLE entries (
    tenant  INTEGER NOT NULL,
    study   BLOB NOT NULL,
    session INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    closed  BOOLEAN NOT NULL,
    passed  BOOLEAN NOT NULL DEFAULT FALSE,
    fact    BLOB NOT NULL,
    key     BLOB NOT NULL,
    packs   TEXT,
    PRIMARY KEY (tenant, study, session, n)
) WITHOUT ROWID;

-- Numbers of a session that a settled fact supersedes and that were never met: most are gone from the store.
-- Ranges, both ends included, that neither touch nor overlap.
CREATE TABLE passed (
    session INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (session, first)
) WITHOUT ROWID;

-- Blobs that a settled fact dropped: they count as never stored. seq grows, so that nodes notice.
CREATE TABLE dropped (
    tenant INTEGER NOT NULL,
    blob   BLOB NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (tenant, blob)
) WITHOUT ROWID;
CREATE INDEX dropped_seq ON dropped (tenant, seq);

-- Objects that are to be deleted, some time after since (ms). moved: the copy in another tier counts.
CREATE TABLE doomed (
    id     INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    object TEXT NOT NULL,
    tier   TEXT NOT NULL,
    size   INTEGER NOT NULL,
    since  INTEGER NOT NULL,
    moved  BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX doomed_object ON doomed (tenant, object, tier);
CREATE INDEX doomed_due ON doomed (tenant, moved, id);

-- How much each tier holds: objects of the log, and packs.
CREATE TABLE tier_usage (
    tenant  INTEGER NOT NULL,
    tier    TEXT NOT NULL,
    objects INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (tenant, tier)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE tier_usage;
DROP TABLE doomed;
DROP TABLE dropped;
DROP TABLE passed;
DROP TABLE entries;
DROP TABLE pack_series;
DROP TABLE packs;
CREATE TABLE packs (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
