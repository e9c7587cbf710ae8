-- Questions that every analyst asks: who comes back, which way people go, what an order is worth and to whom it is owed.

CREATE INDEX clicks_purchases ON clicks (event_time) WHERE type IN ('purchase', 'Order Completed');

CREATE FUNCTION retention("from" date, "to" date, grain text DEFAULT 'week')
RETURNS TABLE (cohort date, age integer, users bigint, active bigint, share double precision)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
WITH newcomers AS MATERIALIZED (
    SELECT user_id, cohort FROM (
        SELECT user_id, date_trunc(grain, min(day)::timestamp)::date AS cohort
        FROM active_users_day WHERE NOT bot GROUP BY user_id
    ) first WHERE cohort >= "from" AND cohort < "to"
), sizes AS (
    SELECT n.cohort, count(*) AS users FROM newcomers n GROUP BY n.cohort
), seen AS (
    SELECT n.cohort, date_trunc(grain, d.day::timestamp)::date AS period, count(DISTINCT d.user_id) AS active
    FROM newcomers n JOIN active_users_day d ON d.user_id = n.user_id AND NOT d.bot
    GROUP BY 1, 2
), last AS (
    SELECT date_trunc(grain, max(day)::timestamp) AS period FROM active_users_day WHERE NOT bot
)
SELECT s.cohort, (row_number() OVER (PARTITION BY s.cohort ORDER BY p.period) - 1)::integer, s.users,
       coalesce(a.active, 0), coalesce(a.active, 0)::double precision / s.users
FROM sizes s CROSS JOIN last
CROSS JOIN LATERAL generate_series(s.cohort::timestamp, last.period, ('1 ' || grain)::interval) p(period)
LEFT JOIN seen a ON a.cohort = s.cohort AND a.period = p.period::date
ORDER BY 1, 2
$$;
COMMENT ON FUNCTION retention IS 'Who comes back: people by the day, week or month (grain) in which they were first seen, cohorts in ["from", "to"), and how many of them were active in it (age 0) and in each one after. First seen: as far as the retention of the data reaches.';

CREATE FUNCTION session_views("from" timestamptz, "to" timestamptz)
RETURNS TABLE (session_id text, place bigint, page_path text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET enable_nestloop TO off SET enable_mergejoin TO off SET jit TO off
AS $$
WITH started AS MATERIALIZED (
    SELECT s.session_id, s.started_at, s.ended_at FROM sessions s
    WHERE NOT s.bot AND s.started_at >= "from" AND s.started_at < "to"
), span AS (
    SELECT min(started_at) AS first, max(ended_at) AS last FROM started
)
SELECT s.session_id, row_number() OVER (PARTITION BY s.session_id ORDER BY c.event_time, c.event_id), c.page_path
FROM clicks c
LEFT JOIN session_aliases a ON a.session_id = c.session_id
JOIN started s ON s.session_id = coalesce(a.merged_into, c.session_id)
WHERE c.type = 'page_view' AND c.event_time >= (SELECT first FROM span) AND c.event_time <= (SELECT last FROM span)
$$;
COMMENT ON FUNCTION session_views IS 'Every page view of people''s sessions that started in ["from", "to"), numbered (place) in its session from 1. It reads the clicks.';

CREATE FUNCTION next_pages(page text, "from" timestamptz, "to" timestamptz)
RETURNS TABLE (page_path text, views bigint, share double precision)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
SELECT after, count(*), count(*)::double precision / sum(count(*)) OVER ()
FROM (
    SELECT v.page_path, lead(v.page_path) OVER (PARTITION BY v.session_id ORDER BY v.place) AS after
    FROM session_views("from", "to") v
) followed
WHERE followed.page_path ~ page_pattern_regex(page)
GROUP BY after ORDER BY 2 DESC, 1
$$;
COMMENT ON FUNCTION next_pages IS 'What people view next after pages of a pattern (* is any run of characters), in sessions that started in ["from", "to"); NULL: nothing, they left. It reads the clicks.';

CREATE FUNCTION page_paths("from" timestamptz, "to" timestamptz, length integer DEFAULT 3)
RETURNS TABLE (pages text[], sessions bigint, share double precision)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
SELECT way, count(*), count(*)::double precision / sum(count(*)) OVER ()
FROM (
    SELECT array_agg(v.page_path ORDER BY v.place) AS way
    FROM session_views("from", "to") v WHERE v.place <= length GROUP BY v.session_id
) ways
GROUP BY way ORDER BY 2 DESC, 1
$$;
COMMENT ON FUNCTION page_paths IS 'How people''s sessions that started in ["from", "to") begin: their first pages (as many as length says, fewer in shorter sessions), the most frequent first. It reads the clicks.';

CREATE FUNCTION amount(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT CASE
    WHEN jsonb_typeof(value) = 'number' THEN (value #>> '{}')::numeric
    WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^-?[0-9]{1,15}(\.[0-9]{1,15})?$' THEN (value #>> '{}')::numeric
END
$$;
COMMENT ON FUNCTION amount IS 'A JSON number, or a text that is one, as a number; NULL for anything else.';

CREATE FUNCTION purchases("from" timestamptz, "to" timestamptz)
RETURNS TABLE (
    event_time timestamptz, user_id text, session_id text, order_id text, revenue numeric, currency text, source text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
SELECT DISTINCT ON (c.source, coalesce('o' || nullif(c.properties ->> 'order_id', ''),
                                       coalesce('t' || nullif(c.properties ->> 'transaction_id', ''),
                                                'e' || length(c.event_id) || c.event_id || c.user_id)))
    c.event_time, c.user_id, coalesce(a.merged_into, c.session_id),
    coalesce(nullif(c.properties ->> 'order_id', ''), nullif(c.properties ->> 'transaction_id', '')),
    coalesce(amount(c.properties -> 'revenue'), amount(c.properties -> 'value'), amount(c.properties -> 'total')),
    upper(left(c.properties ->> 'currency', 3)), c.source
FROM clicks c LEFT JOIN session_aliases a ON a.session_id = c.session_id
WHERE c.type IN ('purchase', 'Order Completed') AND NOT c.bot AND c.event_time >= "from" AND c.event_time < "to"
ORDER BY 1 IS NULL, c.source, coalesce('o' || nullif(c.properties ->> 'order_id', ''),
                          coalesce('t' || nullif(c.properties ->> 'transaction_id', ''),
                                   'e' || length(c.event_id) || c.event_id || c.user_id)), c.event_time, c.event_id
$$;
