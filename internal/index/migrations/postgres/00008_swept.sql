-- +goose Up

-- As in ../sqlite/00008_swept.sql.
ALTER TABLE generations ADD COLUMN swept BIGINT NOT NULL DEFAULT 0;
-- Row-level security binds the owner of the tables too, which has to see all tenants here.
ALTER TABLE lives NO FORCE ROW LEVEL SECURITY;
ALTER TABLE generations NO FORCE ROW LEVEL SECURITY;
UPDATE generations SET swept = 4611686018427387904
    WHERE NOT EXISTS (SELECT 1 FROM lives WHERE lives.tenant = generations.tenant AND judged > 0 AND judged < generation);
ALTER TABLE lives FORCE ROW LEVEL SECURITY;
ALTER TABLE generations FORCE ROW LEVEL SECURITY;

DROP INDEX lives_due;
CREATE INDEX lives_new ON lives (tenant, due, id) WHERE judged = 0;
CREATE INDEX lives_due ON lives (tenant, due, id) WHERE judged > 0;

-- +goose Down
DROP INDEX lives_new;
DROP INDEX lives_due;
CREATE INDEX lives_due ON lives (tenant, judged, due, id);
ALTER TABLE generations DROP COLUMN swept;
