-- The warehouse of one pipeline. Run by `clickstream setup postgres` with the pipeline's schema as search_path.

CREATE TABLE pipeline (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    namespace   text NOT NULL,
    name        text NOT NULL,
    time_zone   text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pipeline IS 'Whose schema this is, and the time zone that hours and days are counted in. One row.';

CREATE TABLE clicks (
    event_id            text NOT NULL,
    storage_day         date NOT NULL,
    event_time          timestamptz NOT NULL,
    received_at         timestamptz NOT NULL,
    client_timestamp    timestamptz NOT NULL,
    user_id             text NOT NULL,
    session_id          text,
    client_session_id   text NOT NULL,
    type                text NOT NULL,
    page                text NOT NULL,
    page_path           text NOT NULL,
    page_category       text NOT NULL,
    page_host           text,
    title               text,
    source              text NOT NULL,
    late                boolean NOT NULL,
    bot                 boolean NOT NULL,
    referrer            text,
    referrer_host       text,
    referrer_source     text,
    medium              text NOT NULL,
    campaign            text,
    campaign_source     text,
    campaign_medium     text,
    campaign_term       text,
    campaign_content    text,
    user_agent          text,
    browser             text,
    browser_version     text,
    os                  text,
    device              text NOT NULL,
    ip                  inet,
    country             text,
    joins               jsonb NOT NULL,
    properties          jsonb NOT NULL,
    PRIMARY KEY (storage_day, event_id)
) PARTITION BY RANGE (storage_day);
CREATE INDEX clicks_event_time ON clicks USING brin (event_time);
CREATE TABLE clicks_undated PARTITION OF clicks FOR VALUES FROM (MINVALUE) TO ('1970-01-01');

COMMENT ON TABLE clicks IS 'Every accepted click, once. Partitioned by storage_day.';
COMMENT ON COLUMN clicks.event_id IS 'The client''s own id of the event, the same in every retry.';
COMMENT ON COLUMN clicks.storage_day IS 'UTC day of client_timestamp, the same for every retry; 0001-01-01 = undated: the client''s clock was not believed. Not for analysis: use event_time.';
COMMENT ON COLUMN clicks.event_time IS 'When the click happened, by the server''s clock.';
COMMENT ON COLUMN clicks.received_at IS 'When the tracking API received it.';
COMMENT ON COLUMN clicks.client_timestamp IS 'When it happened by the client''s clock, uncorrected.';
COMMENT ON COLUMN clicks.session_id IS 'The session that it was given at the time; resolve merged sessions through session_aliases (view clicks_with_session). NULL: too late for any session.';
COMMENT ON COLUMN clicks.client_session_id IS 'The browser''s own session id.';
COMMENT ON COLUMN clicks.page IS 'As it was sent, a URL or a path.';
COMMENT ON COLUMN clicks.page_path IS 'The path alone, without a trailing slash: what funnels and page views go by.';
COMMENT ON COLUMN clicks.late IS 'It came later than the pipeline''s lateAfter, or too late for its session.';
COMMENT ON COLUMN clicks.joins IS 'The joined rows by the name of the join.';
COMMENT ON COLUMN clicks.properties IS 'What the client sent besides the known fields.';

CREATE TABLE session_records (
    session_id      text PRIMARY KEY,
    version         bigint NOT NULL,
    storage_day     date NOT NULL,
    recorded_at     timestamptz NOT NULL,
    merged_into     text,
    user_id         text,
    started_at      timestamptz,
    ended_at        timestamptz,
    duration        interval GENERATED ALWAYS AS (ended_at - started_at) STORED,
    events          integer,
    page_views      integer,
    entry_page      text,
    exit_page       text,
    referrer_host   text,
    referrer_source text,
    medium          text,
    campaign        text,
    device          text,
    country         text,
    bot             boolean,
    bounce          boolean,
    closed          boolean,
    funnels         jsonb,
    merged_ids      text[],
    CHECK (merged_into IS NOT NULL
        OR num_nulls(user_id, started_at, ended_at, events, page_views, entry_page, exit_page, medium, device,
                     bot, bounce, closed, funnels, merged_ids) = 0)
);
CREATE INDEX session_records_started ON session_records (started_at) WHERE merged_into IS NULL;
CREATE INDEX session_records_ended ON session_records (ended_at);

COMMENT ON TABLE session_records IS 'The newest record of every session, absorbed ones included: their versions keep an old record from coming back. For analysis use the view sessions.';
COMMENT ON COLUMN session_records.version IS 'Orders the records of one session: an older one never overwrites a newer one.';
COMMENT ON COLUMN session_records.recorded_at IS 'Time of the record in Kafka.';
COMMENT ON COLUMN session_records.merged_into IS 'The session that absorbed this one; NULL for a session that stands.';
COMMENT ON COLUMN session_records.funnels IS 'Furthest step reached in order, by funnel: {"checkout": 2}.';
COMMENT ON COLUMN session_records.closed IS 'No more clicks can join it.';

CREATE VIEW sessions AS
SELECT session_id, user_id, storage_day, started_at, ended_at, duration, events, page_views, entry_page, exit_page,
       referrer_host, referrer_source, medium, campaign, device, country, bot, bounce, closed, funnels, merged_ids, version
FROM session_records
WHERE merged_into IS NULL;
COMMENT ON VIEW sessions IS 'The sessions that stand, open ones as they stand now.';

CREATE TABLE session_aliases (
    session_id  text PRIMARY KEY,
    merged_into text NOT NULL,
    version     bigint NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX session_aliases_recorded ON session_aliases (recorded_at);
COMMENT ON TABLE session_aliases IS 'Absorbed sessions and the session that each is part of now.';

CREATE TABLE page_views_minute (
    minute      timestamptz NOT NULL,
    page_path   text NOT NULL,
    bot         boolean NOT NULL,
    views       bigint NOT NULL,
    page_key    uuid GENERATED ALWAYS AS (md5(page_path)::uuid) STORED,
    PRIMARY KEY (minute, page_key, bot)
);
COMMENT ON TABLE page_views_minute IS 'Clicks of type page_view by minute of event_time.';
COMMENT ON COLUMN page_views_minute.page_key IS 'Hash of page_path, which may be too long for an index.';

CREATE TABLE active_users_hour (
    hour    timestamptz NOT NULL,
    user_id text NOT NULL,
    bot     boolean NOT NULL,
    PRIMARY KEY (hour, user_id, bot)
);
COMMENT ON TABLE active_users_hour IS 'Who clicked in which hour of event_time (hours of the pipeline''s time zone). Users are counted by counting rows.';

CREATE TABLE active_users_day (
    day     date NOT NULL,
    user_id text NOT NULL,
    bot     boolean NOT NULL,
    PRIMARY KEY (day, user_id, bot)
);
COMMENT ON TABLE active_users_day IS 'Who clicked on which day of event_time (days of the pipeline''s time zone).';

CREATE TABLE funnels (
    funnel       text NOT NULL,
    version      integer NOT NULL,
    step         integer NOT NULL,
    step_name    text NOT NULL,
    page_pattern text NOT NULL,
    valid_from   timestamptz NOT NULL,
    valid_to     timestamptz,
    PRIMARY KEY (funnel, version, step)
);
COMMENT ON TABLE funnels IS 'The funnels that the pipeline declares, every version of each; one row a step. valid_to is NULL for the version in force.';

CREATE VIEW clicks_with_session AS
SELECT c.*, coalesce(a.merged_into, c.session_id) AS resolved_session_id
FROM clicks c LEFT JOIN session_aliases a ON a.session_id = c.session_id;
COMMENT ON VIEW clicks_with_session IS 'Clicks with the session that they are part of today (resolved_session_id).';

CREATE VIEW page_views AS
SELECT minute, page_path, views FROM page_views_minute WHERE NOT bot;
COMMENT ON VIEW page_views IS 'Page views by minute and page, bots left out.';

CREATE VIEW unique_users AS
SELECT 'hour' AS grain, hour AS period_start, count(*) AS users
FROM active_users_hour WHERE NOT bot GROUP BY hour
UNION ALL
SELECT 'day', day::timestamp AT TIME ZONE p.time_zone, count(*)
FROM active_users_day CROSS JOIN pipeline p WHERE NOT bot GROUP BY day, p.time_zone;
COMMENT ON VIEW unique_users IS 'Distinct users by hour and by day (grain) in the pipeline''s time zone, bots left out.';

CREATE VIEW session_facts AS
SELECT s.*,
       (s.started_at AT TIME ZONE p.time_zone)::date AS day,
       extract(epoch FROM s.duration)::double precision AS duration_seconds
FROM sessions s CROSS JOIN pipeline p;
COMMENT ON VIEW session_facts IS 'Sessions with their day in the pipeline''s time zone and their duration in seconds; bots are marked, not left out.';

CREATE VIEW funnel_results AS
SELECT f.funnel, f.version, f.step, f.step_name,
       (s.started_at AT TIME ZONE p.time_zone)::date AS day,
       count(*) AS sessions
FROM funnels f
JOIN sessions s ON s.started_at >= f.valid_from AND (f.valid_to IS NULL OR s.started_at < f.valid_to)
    AND (s.funnels ->> f.funnel)::integer >= f.step
CROSS JOIN pipeline p
WHERE NOT s.bot
GROUP BY f.funnel, f.version, f.step, f.step_name, day;
COMMENT ON VIEW funnel_results IS 'Sessions that reached each step in order, by the day on which they started, bots left out.';
