#!/bin/sh
# Makes the nodes' role and database, once, in a new cluster. The role owns the
# database and is no superuser, so row-level security holds it.
set -eu
psql -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -v password="$(cat "$DATABASE_PASSWORD_FILE")" <<'SQL'
CREATE ROLE strata LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
CREATE DATABASE strata OWNER strata;
REVOKE ALL ON DATABASE strata FROM PUBLIC;
SQL
