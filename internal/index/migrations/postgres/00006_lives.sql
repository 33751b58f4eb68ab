-- +goose Up

-- As in ../sqlite/00006_lives.sql.
CREATE TABLE lives (
    id       BIGINT NOT NULL,
    judged   BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    accessed BIGINT NOT NULL,
    tenant   INTEGER NOT NULL,
    sealed   BYTEA NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 85);
ALTER TABLE lives ALTER sealed SET STORAGE EXTERNAL;

-- Row-level security binds the owner of the table too, which has to see all tenants here.
ALTER TABLE studies NO FORCE ROW LEVEL SECURITY;
INSERT INTO lives (tenant, id, judged, due, accessed, sealed)
    SELECT tenant, id, 0, 0, extract(epoch FROM now())::bigint / 86400, ''::bytea FROM studies;
CREATE INDEX lives_due ON lives (tenant, judged, due, id);

CREATE TABLE generations (
    tenant     INTEGER PRIMARY KEY,
    generation BIGINT NOT NULL,
    studies    BIGINT NOT NULL
) WITH (fillfactor = 25);
INSERT INTO generations (tenant, generation, studies)
    SELECT tenant, 1, count(*) FROM studies WHERE skey IS NOT NULL GROUP BY tenant;
ALTER TABLE studies FORCE ROW LEVEL SECURITY;

CREATE TABLE tags (
    tenant INTEGER NOT NULL,
    study  BYTEA NOT NULL,
    fact   BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, study)
);
ALTER TABLE tags ALTER sealed SET STORAGE EXTERNAL;

-- +goose StatementBegin
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['lives', 'generations', 'tags']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant = (SELECT NULLIF(current_setting(''strata.tenant'', true), '''')::integer))', name);
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
ALTER TABLE facets NO FORCE ROW LEVEL SECURITY;
DELETE FROM facets WHERE kind = 2;
ALTER TABLE facets FORCE ROW LEVEL SECURITY;
DROP TABLE tags, generations, lives;
