-- +goose Up

-- What lifecycle rules look at, a row for each study. judged is the generation of rules under which due (ms) was set, 0
-- where facts about the study set it. accessed is a day since 1970. Where sealed is empty the row is
-- made from the study when it is first wanted: due 0 brings it to the front.
CREATE TABLE lives (
    tenant   INTEGER NOT NULL,
    id       INTEGER NOT NULL,
    judged   INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    accessed INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX lives_due ON lives (tenant, judged, due, id);

INSERT INTO lives (tenant, id, judged, due, accessed, sealed)
    SELECT tenant, id, 0, 0, CAST(strftime('%s', 'now') AS INTEGER) / 86400, x'' FROM studies;

-- The generation of rules of a tenant, and how many studies of it are visible; 1 and 0 where there is no row.
CREATE TABLE generations (
    tenant     INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    studies    INTEGER NOT NULL
);
INSERT INTO generations (tenant, generation, studies)
    SELECT tenant, 1, count(*) FROM studies WHERE skey IS NOT NULL GROUP BY tenant;

-- The tags of studies as the newest fact of each states them. A row may come before the study.
CREATE TABLE tags (
    tenant INTEGER NOT NULL,
    study  BLOB NOT NULL,
    fact   BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, study)
) WITHOUT ROWID;

-- +goose Down
DELETE FROM facets WHERE kind = 2;
DROP TABLE tags;
DROP TABLE generations;
DROP TABLE lives;
