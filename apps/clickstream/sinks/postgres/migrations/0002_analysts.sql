-- What analysts and dashboards ask: sessions by funnel version, any funnel over history, users by week, and a comment
-- on every table and column (docs/warehouse.md shows them in use).

CREATE INDEX page_views_minute_range ON page_views_minute (minute) INCLUDE (views, bot);
CREATE INDEX session_records_facts ON session_records (started_at)
    INCLUDE (session_id, ended_at, bot, bounce, page_views, device, medium, country, entry_page, exit_page)
    WHERE merged_into IS NULL;
CREATE INDEX active_users_day_users ON active_users_day (user_id, day, bot);

CREATE OR REPLACE VIEW unique_users AS
SELECT 'hour' AS grain, hour AS period_start, count(*) AS users
FROM active_users_hour WHERE NOT bot GROUP BY hour
UNION ALL
SELECT 'day', day::timestamp AT TIME ZONE p.time_zone, count(*)
FROM active_users_day CROSS JOIN pipeline p WHERE NOT bot GROUP BY day, p.time_zone
UNION ALL
SELECT 'week', date_trunc('week', day::timestamp) AT TIME ZONE p.time_zone, count(DISTINCT user_id)
FROM active_users_day CROSS JOIN pipeline p WHERE NOT bot GROUP BY date_trunc('week', day::timestamp), p.time_zone;
COMMENT ON VIEW unique_users IS 'Distinct users by hour, by day and by week (grain) in the pipeline''s time zone, bots left out.';

CREATE VIEW funnel_sessions AS
SELECT f.funnel, f.version, f.steps, least(coalesce((s.funnels ->> f.funnel)::integer, 0), f.steps) AS furthest,
       s.session_id, s.user_id, s.started_at, s.duration, s.device, s.medium, s.country, s.bot
FROM (
    SELECT funnel, version, valid_from, valid_to, max(step) AS steps
    FROM funnels GROUP BY funnel, version, valid_from, valid_to
) f
JOIN sessions s ON s.started_at >= f.valid_from AND (f.valid_to IS NULL OR s.started_at < f.valid_to);
COMMENT ON VIEW funnel_sessions IS 'How far each session got in each funnel, in the version that was in force when it started; bots are marked, not left out.';

CREATE FUNCTION page_pattern_regex(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT '^(?:' || replace(replace(
        regexp_replace(coalesce(nullif(rtrim(pattern, '/'), ''), '/'), '([\\.^$+?()\[\]{}|])', '\\\1', 'g'),
        '\{key\}', '[^/]+'), '*', '.*') || ')$'
$$;
COMMENT ON FUNCTION page_pattern_regex IS 'A page pattern of the pipeline document (* is any run of characters, {key} one path segment) as a regular expression on page_path.';

CREATE FUNCTION funnel(steps text[], "from" timestamptz, "to" timestamptz, within interval DEFAULT NULL)
RETURNS TABLE (
    step integer, page_pattern text, sessions bigint,
    share_of_first double precision, share_of_previous double precision, seconds_from_previous double precision
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
-- How many pages and sessions are asked for is not known when the plan is made: a nested loop would read the clicks once a page.
SET enable_nestloop TO off SET enable_mergejoin TO off SET jit TO off
AS $$
WITH RECURSIVE wanted AS (
    SELECT u.number::integer AS step, u.pattern, page_pattern_regex(u.pattern) AS expression
    FROM unnest(steps) WITH ORDINALITY u(pattern, number)
), started AS MATERIALIZED (
    SELECT session_id, started_at, ended_at FROM sessions WHERE NOT bot AND started_at >= "from" AND started_at < "to"
), span AS (
    -- The partitions are by the client's own day, which is at most 30 days off; the undated bucket is always read.
    SELECT min(started_at) AS first, max(ended_at) AS last FROM started
), pages AS MATERIALIZED (
    SELECT v.page_path, w.step
    FROM (SELECT DISTINCT page_path FROM page_views_minute, span
          WHERE minute >= date_trunc('minute', span.first) AND minute <= span.last) v
    JOIN wanted w ON v.page_path ~ w.expression
), views AS (
    SELECT s.session_id, c.event_time AS at, p.step
    FROM clicks c
    LEFT JOIN session_aliases a ON a.session_id = c.session_id
    JOIN started s ON s.session_id = coalesce(a.merged_into, c.session_id)
    JOIN pages p ON p.page_path = c.page_path
    WHERE c.type = 'page_view' AND c.event_time >= (SELECT first FROM span) AND c.event_time <= (SELECT last FROM span)
), trails AS MATERIALIZED (
    SELECT session_id, array_agg(at ORDER BY at, views.step) AS ats, array_agg(views.step ORDER BY at, views.step) AS numbers
    FROM views GROUP BY session_id
), paths AS (
    -- From every view of the first step when time is limited, else from the earliest: the earliest next view is always the best.
    SELECT t.session_id, t.ats, t.numbers, u.at AS began, u.at, 1 AS step, NULL::double precision AS seconds
    FROM trails t CROSS JOIN LATERAL unnest(t.ats, t.numbers) WITH ORDINALITY u(at, number, place)
    WHERE u.number = 1 AND (within IS NOT NULL OR u.place = array_position(t.numbers, 1))
    UNION ALL
    SELECT p.session_id, p.ats, p.numbers, p.began, n.at, p.step + 1, extract(epoch FROM n.at - p.at)::double precision
    FROM paths p CROSS JOIN LATERAL (
        SELECT min(u.at) AS at FROM unnest(p.ats, p.numbers) u(at, number) WHERE u.number = p.step + 1 AND u.at > p.at
    ) n
    WHERE n.at IS NOT NULL AND (within IS NULL OR n.at - p.began <= within)
), reached AS (
    SELECT DISTINCT ON (session_id, paths.step) session_id, paths.step, seconds
    FROM paths ORDER BY session_id, paths.step, began
), counted AS (
    SELECT w.step, w.pattern, count(r.session_id) AS sessions,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) AS seconds
    FROM wanted w LEFT JOIN reached r ON r.step = w.step GROUP BY w.step, w.pattern
)
SELECT c.step, c.pattern, c.sessions,
       c.sessions::double precision / nullif(first_value(c.sessions) OVER w, 0),
       c.sessions::double precision / nullif(lag(c.sessions) OVER w, 0),
       c.seconds
FROM counted c WINDOW w AS (ORDER BY c.step) ORDER BY c.step
$$;
COMMENT ON FUNCTION funnel IS 'Any funnel over history, recomputed from the clicks: people''s sessions that started in ["from", "to") and viewed pages of these patterns in order, each strictly after the one before, all within an interval of the first if one is given. seconds_from_previous is a median.';

COMMENT ON TABLE schema_migrations IS 'The migrations that `clickstream setup` has applied.';
COMMENT ON COLUMN schema_migrations.version IS 'Number of the migration; the highest is the schema''s version.';
COMMENT ON COLUMN schema_migrations.name IS 'What it is called in the release that applied it.';
COMMENT ON COLUMN schema_migrations.checksum IS 'SHA-256 of its text: a migration that was changed afterwards is refused.';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When it was applied.';

COMMENT ON COLUMN pipeline.only_row IS 'Always true: keeps the table to one row.';
COMMENT ON COLUMN pipeline.namespace IS 'Kubernetes namespace of the pipeline.';
COMMENT ON COLUMN pipeline.name IS 'Name of the pipeline; the schema is called the same, - as _.';
COMMENT ON COLUMN pipeline.time_zone IS 'The reporting time zone: hours, days and weeks are its own.';
COMMENT ON COLUMN pipeline.created_at IS 'When the schema was installed.';

COMMENT ON TABLE clicks_undated IS 'Clicks whose own timestamp is too far from their receipt to be believed.';
COMMENT ON COLUMN clicks.user_id IS 'Who clicked, as the client says.';
COMMENT ON COLUMN clicks.type IS 'page_view, or what the client called it.';
COMMENT ON COLUMN clicks.page_category IS 'The pipeline''s name for pages of this pattern, other when no pattern matches.';
COMMENT ON COLUMN clicks.page_host IS 'Host of a page that was sent as a URL.';
COMMENT ON COLUMN clicks.title IS 'Title of the page, as it was sent.';
COMMENT ON COLUMN clicks.source IS 'The pipeline''s source whose write key it came with.';
COMMENT ON COLUMN clicks.bot IS 'The user agent or the address is a bot''s.';
COMMENT ON COLUMN clicks.referrer IS 'Where the visitor came from, as it was sent.';
COMMENT ON COLUMN clicks.referrer_host IS 'Host of the referrer.';
COMMENT ON COLUMN clicks.referrer_source IS 'A known search engine, network or mail service: google, facebook.';
COMMENT ON COLUMN clicks.medium IS 'The channel: search, social, email, referral, internal, direct, or utm_medium''s.';
COMMENT ON COLUMN clicks.campaign IS 'utm_campaign of the page.';
COMMENT ON COLUMN clicks.campaign_source IS 'utm_source of the page.';
COMMENT ON COLUMN clicks.campaign_medium IS 'utm_medium of the page.';
COMMENT ON COLUMN clicks.campaign_term IS 'utm_term of the page.';
COMMENT ON COLUMN clicks.campaign_content IS 'utm_content of the page.';
COMMENT ON COLUMN clicks.user_agent IS 'As it was sent.';
COMMENT ON COLUMN clicks.browser IS 'Family of the browser.';
COMMENT ON COLUMN clicks.browser_version IS 'Its version.';
COMMENT ON COLUMN clicks.os IS 'Family of the operating system.';
COMMENT ON COLUMN clicks.device IS 'desktop, mobile, tablet, bot or other.';
COMMENT ON COLUMN clicks.ip IS 'The address, anonymized unless the pipeline says otherwise.';
COMMENT ON COLUMN clicks.country IS 'ISO 3166 code of the address''s country; NULL without a GeoIP database.';

COMMENT ON COLUMN session_records.session_id IS 'Stable id: the storage day of its first-seen click and a hash.';
COMMENT ON COLUMN session_records.storage_day IS 'Storage day of the first-seen click; 0001-01-01 = undated.';
COMMENT ON COLUMN session_records.user_id IS 'Whose session it is.';
COMMENT ON COLUMN session_records.started_at IS 'Event time of its first click.';
COMMENT ON COLUMN session_records.ended_at IS 'Event time of its last click so far.';
COMMENT ON COLUMN session_records.duration IS 'ended_at − started_at.';
COMMENT ON COLUMN session_records.events IS 'Clicks in it, of every type.';
COMMENT ON COLUMN session_records.page_views IS 'Clicks of type page_view in it.';
COMMENT ON COLUMN session_records.entry_page IS 'page_path of its first click.';
COMMENT ON COLUMN session_records.exit_page IS 'page_path of its last click.';
COMMENT ON COLUMN session_records.referrer_host IS 'Referrer''s host of its first click.';
COMMENT ON COLUMN session_records.referrer_source IS 'Referrer''s source of its first click.';
COMMENT ON COLUMN session_records.medium IS 'Channel of its first click.';
COMMENT ON COLUMN session_records.campaign IS 'Campaign of its first click.';
COMMENT ON COLUMN session_records.device IS 'Device of its first click.';
COMMENT ON COLUMN session_records.country IS 'Country of its first click.';
COMMENT ON COLUMN session_records.bot IS 'One of its clicks was a bot''s.';
COMMENT ON COLUMN session_records.bounce IS 'At most one page view.';
COMMENT ON COLUMN session_records.merged_ids IS 'Every session that this one ever absorbed.';

COMMENT ON COLUMN session_aliases.session_id IS 'A session that was absorbed.';
COMMENT ON COLUMN session_aliases.merged_into IS 'The session that stands for it now.';
COMMENT ON COLUMN session_aliases.version IS 'Version of the record that said so.';
COMMENT ON COLUMN session_aliases.recorded_at IS 'Time of that record in Kafka.';

COMMENT ON COLUMN page_views_minute.minute IS 'Start of the minute.';
COMMENT ON COLUMN page_views_minute.page_path IS 'The page.';
COMMENT ON COLUMN page_views_minute.bot IS 'Views of bots are counted apart.';
COMMENT ON COLUMN page_views_minute.views IS 'Page views in that minute.';
COMMENT ON COLUMN active_users_hour.hour IS 'Start of the hour.';
COMMENT ON COLUMN active_users_hour.user_id IS 'Somebody who clicked in it.';
COMMENT ON COLUMN active_users_hour.bot IS 'As a bot, or as people do.';
COMMENT ON COLUMN active_users_day.day IS 'The day, in the pipeline''s time zone.';
COMMENT ON COLUMN active_users_day.user_id IS 'Somebody who clicked on it.';
COMMENT ON COLUMN active_users_day.bot IS 'As a bot, or as people do.';

COMMENT ON COLUMN funnels.funnel IS 'Name of the funnel.';
COMMENT ON COLUMN funnels.version IS 'Grows with each change of its steps.';
COMMENT ON COLUMN funnels.step IS 'Number of the step, from 1.';
COMMENT ON COLUMN funnels.step_name IS 'Name of the step.';
COMMENT ON COLUMN funnels.page_pattern IS 'Which pages are the step: * is any run of characters.';
COMMENT ON COLUMN funnels.valid_from IS 'Sessions that start from then on count in this version; the first version is valid from the beginning of time.';
COMMENT ON COLUMN funnels.valid_to IS 'Until then; NULL: in force.';

COMMENT ON COLUMN clicks_with_session.resolved_session_id IS 'The session that the click is part of today; NULL: too late for any.';
COMMENT ON COLUMN page_views.minute IS 'Start of the minute of event_time.';
COMMENT ON COLUMN page_views.page_path IS 'The page.';
COMMENT ON COLUMN page_views.views IS 'Page views of people.';
COMMENT ON COLUMN unique_users.grain IS 'hour, day or week.';
COMMENT ON COLUMN unique_users.period_start IS 'When the hour, day or week (Monday) began.';
COMMENT ON COLUMN unique_users.users IS 'Different people with a click in it.';
COMMENT ON COLUMN session_facts.day IS 'Day on which the session started, in the pipeline''s time zone.';
COMMENT ON COLUMN session_facts.duration_seconds IS 'Duration in seconds.';
COMMENT ON COLUMN funnel_results.funnel IS 'Name of the funnel.';
COMMENT ON COLUMN funnel_results.version IS 'Its version.';
COMMENT ON COLUMN funnel_results.step IS 'Number of the step.';
COMMENT ON COLUMN funnel_results.step_name IS 'Name of the step.';
COMMENT ON COLUMN funnel_results.day IS 'Day on which the sessions started, in the pipeline''s time zone.';
COMMENT ON COLUMN funnel_results.sessions IS 'People''s sessions that reached the step.';
COMMENT ON COLUMN funnel_sessions.funnel IS 'Name of the funnel.';
COMMENT ON COLUMN funnel_sessions.version IS 'The version in force when the session started.';
COMMENT ON COLUMN funnel_sessions.steps IS 'How many steps that version has.';
COMMENT ON COLUMN funnel_sessions.furthest IS 'The furthest step that the session reached in order; 0: not even the first.';

-- A view's column that is a table's column says what that one says.
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT v.oid::regclass AS view, va.attname AS name, col_description(t.oid, ta.attnum) AS text
        FROM pg_class v
        JOIN pg_attribute va ON va.attrelid = v.oid AND va.attnum > 0
        JOIN (VALUES ('clicks_with_session', 'clicks'), ('sessions', 'session_records'),
                     ('session_facts', 'session_records'), ('funnel_sessions', 'session_records')) s(view, source)
            ON v.oid = s.view::regclass
        JOIN pg_class t ON t.oid = s.source::regclass
        JOIN pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = va.attname AND NOT ta.attisdropped
        WHERE col_description(v.oid, va.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', found.view, found.name, found.text);
    END LOOP;
END $$;
