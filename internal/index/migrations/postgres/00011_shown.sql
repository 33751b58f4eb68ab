-- +goose Up

-- How many of the series' rows that lie in the pack are shown; NULL where an older version mapped them, until the study is
-- settled anew.
ALTER TABLE pack_series ADD COLUMN shown BIGINT;

-- +goose Down
ALTER TABLE pack_series DROP COLUMN shown;
