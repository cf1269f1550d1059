-- A database for collectors that share it, with the least rights. Run it as a superuser:
--   psql -v password="'…'" -f least-privilege.sql
-- and then `database = "postgres://exhibit@host/exhibit"` in exhibit.toml, with the password in
-- PGPASSWORD or in ~/.pgpass of the collector's user.

CREATE ROLE exhibit LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :password;
-- Each collector uses up to 16 connections.
ALTER ROLE exhibit CONNECTION LIMIT 100;
CREATE DATABASE exhibit OWNER postgres;
\connect exhibit
REVOKE ALL ON DATABASE exhibit FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE exhibit TO exhibit;
-- The collector creates its tables at the first start, and changes them with new versions.
CREATE SCHEMA exhibit AUTHORIZATION exhibit;
ALTER ROLE exhibit IN DATABASE exhibit SET search_path = exhibit;

-- Somebody who only reads: metrics of one's own, or an auditor's queries.
CREATE ROLE exhibit_reader NOLOGIN;
GRANT CONNECT ON DATABASE exhibit TO exhibit_reader;
GRANT USAGE ON SCHEMA exhibit TO exhibit_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE exhibit IN SCHEMA exhibit GRANT SELECT ON TABLES TO exhibit_reader;
