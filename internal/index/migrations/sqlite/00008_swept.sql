-- +goose Up

-- When rules change, studies are looked at in the order of their identities: those up to swept are judged by the
-- generation, whatever their row says, so that one which stays due when it was need not be written.
-- 4611686018427387904: all of them.
ALTER TABLE generations ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
UPDATE generations SET swept = 4611686018427387904
    WHERE NOT EXISTS (SELECT 1 FROM lives WHERE lives.tenant = generations.tenant AND judged > 0 AND judged < generation);

DROP INDEX lives_due;
CREATE INDEX lives_new ON lives (tenant, due, id) WHERE judged = 0;
CREATE INDEX lives_due ON lives (tenant, due, id) WHERE judged > 0;

-- +goose Down
DROP INDEX lives_new;
DROP INDEX lives_due;
CREATE INDEX lives_due ON lives (tenant, judged, due, id);
ALTER TABLE generations DROP COLUMN swept;
