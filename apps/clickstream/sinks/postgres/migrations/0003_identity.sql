-- Who a click is, pages of any text counted apart, no index row that could become too long, aliases that can be repointed.
-- `clickstream setup` says in the setting clickstream.grouping_field which field the pipeline groups by. A sink of the
-- release before goes on working: its ON CONFLICT DO NOTHING names no key, and page_key keeps its name.

DO $$
BEGIN
    EXECUTE format('ALTER TABLE clicks DROP CONSTRAINT clicks_pkey, ADD CONSTRAINT clicks_pkey '
                   'PRIMARY KEY (storage_day, event_id, %I, source)', current_setting('clickstream.grouping_field'));
END $$;
COMMENT ON TABLE clicks IS 'Every accepted click, once. Partitioned by storage_day. Two clicks are one if source, grouping key (user_id, or client_session_id where the pipeline groups by session_id) and event_id are equal.';
COMMENT ON COLUMN clicks.event_id IS 'The client''s own id of the event, the same in every retry. Not unique by itself: different sources and users may choose the same.';
COMMENT ON COLUMN clicks.event_time IS 'When the click happened: by the client''s clock, corrected by the server''s where the client said when it sent it (sent_at). Never more than a minute after its receipt.';
COMMENT ON COLUMN clicks.page_category IS 'The pipeline''s name for pages of this pattern; the first segment of the path when no pattern matches.';

-- SHA-256 of the page: one can make two pages with the same MD5. Doubling the backslashes makes any text a bytea of its own bytes.
CREATE FUNCTION page_key(page_path text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT sha256(replace(page_path, '\', '\\')::bytea) $$;
COMMENT ON FUNCTION page_key IS 'SHA-256 of a page''s path, which may be too long for an index.';
ALTER TABLE page_views_minute
    DROP CONSTRAINT page_views_minute_pkey,
    DROP COLUMN page_key;
ALTER TABLE page_views_minute
    ADD COLUMN page_key bytea GENERATED ALWAYS AS (page_key(page_path)) STORED,
    ADD CONSTRAINT page_views_minute_pkey PRIMARY KEY (minute, page_key, bot);
COMMENT ON COLUMN page_views_minute.page_key IS 'SHA-256 of page_path, which may be too long for an index.';

-- An index row holds 2,704 bytes, and a page alone may have more: what is left has a limit that every record is checked for.
DROP INDEX session_records_facts;
CREATE INDEX session_records_facts ON session_records (started_at)
    INCLUDE (session_id, ended_at, bot, bounce, page_views, device, medium, country)
    WHERE merged_into IS NULL;

-- Every alias names the session that stands, also when the merges came in another order.
CREATE INDEX session_aliases_merged_into ON session_aliases (merged_into);
DO $$
DECLARE changed bigint;
BEGIN
    FOR attempt IN 1..40 LOOP
        UPDATE session_aliases a SET merged_into = b.merged_into, version = greatest(a.version, b.version)
        FROM session_aliases b WHERE b.session_id = a.merged_into AND b.merged_into <> a.session_id;
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
    END LOOP;
END $$;
COMMENT ON COLUMN session_records.merged_ids IS 'Sessions that this one absorbed: all of them, or the newest 500. session_aliases has all.';
COMMENT ON COLUMN session_aliases.merged_into IS 'The session that stands for it now.';
COMMENT ON COLUMN session_aliases.version IS 'Version of the newest record that had a part in it.';
