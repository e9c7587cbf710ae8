-- What the pipeline web/shop of full.yaml needs in PostgreSQL, run by an administrator in the database `warehouse`. Nobody else
-- needs any right there: REVOKE ALL ON DATABASE warehouse FROM PUBLIC. Give the logins a password (\password shop).
CREATE ROLE shop LOGIN;                                   -- the pipeline's: spec.sinks.postgres
CREATE ROLE shop_reader NOLOGIN;                          -- set-up lets it read everything in the schema
CREATE ROLE grafana LOGIN;                                -- spec.dashboards.datasources.postgres
GRANT CONNECT ON DATABASE warehouse TO shop;
GRANT TEMPORARY ON DATABASE warehouse TO shop;            -- a batch is written into temporary tables first
CREATE SCHEMA shop AUTHORIZATION shop;                    -- days are attached and dropped as tables: only an owner may
GRANT CONNECT ON DATABASE warehouse TO shop_reader;
GRANT shop_reader TO grafana;
