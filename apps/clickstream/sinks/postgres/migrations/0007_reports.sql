-- Questions that every analyst asks: who comes back, which way people go, what an order is worth and to whom it is owed.

CREATE INDEX clicks_purchases ON clicks (event_time) WHERE type IN ('purchase', 'Order Completed');

CREATE FUNCTION retention("from" date, "to" date, grain text DEFAULT 'week')
RETURNS TABLE (cohort date, age integer, users bigint, active bigint, share double precision)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
WITH newcomers AS MATERIALIZED (
    SELECT user_id, cohort FROM (
        SELECT user_id, date_trunc(CASE WHEN grain IN ('day', 'week', 'month') THEN grain
                                   ELSE 'day, week and month are the grains: ' || grain END, min(day)::timestamp)::date AS cohort
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

-- Stars in a row are one: each costs a regular expression another way to try.
CREATE OR REPLACE FUNCTION page_pattern_regex(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT '^(?:' || regexp_replace(replace(
        regexp_replace(coalesce(nullif(rtrim(pattern, '/'), ''), '/'), '([\\.^$+?()\[\]{}|])', '\\\1', 'g'),
        '\{key\}', '[^/]+'), '\*+', '.*', 'g') || ')$'
$$;

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
    WHEN jsonb_typeof(value) = 'number' AND abs((value #>> '{}')::numeric) <= 1e12 THEN round((value #>> '{}')::numeric, 15)
    WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^-?[0-9]{1,12}(\.[0-9]{1,15})?$' THEN (value #>> '{}')::numeric
END
$$;
COMMENT ON FUNCTION amount IS 'A JSON number, or a text that is a plain one (12.50), of at most 10^12; NULL for anything else, so that one absurd value does not take a report along.';

CREATE FUNCTION purchases("from" timestamptz, "to" timestamptz)
RETURNS TABLE (
    event_time timestamptz, user_id text, session_id text, order_id text, revenue numeric, currency text, source text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
SELECT DISTINCT ON (p.source, p.one) p.event_time, p.user_id, p.session_id, p.order_id, p.revenue, p.currency, p.source
FROM (
    SELECT c.event_time, c.event_id, c.user_id, c.source, coalesce(a.merged_into, c.session_id) AS session_id, o.order_id,
           coalesce(amount(c.properties -> 'revenue'), amount(c.properties -> 'value'), amount(c.properties -> 'total')) AS revenue,
           upper(substring(c.properties ->> 'currency' FROM '^[A-Za-z]{3}$')) AS currency,
           CASE WHEN o.order_id IS NULL THEN jsonb_build_array(c.event_id, c.user_id, c.client_session_id)
                ELSE jsonb_build_array(o.order_id) END AS one
    FROM clicks c
    LEFT JOIN session_aliases a ON a.session_id = c.session_id
    CROSS JOIN LATERAL (
        SELECT coalesce(nullif(c.properties ->> 'order_id', ''), nullif(c.properties ->> 'transaction_id', '')) AS order_id
    ) o
    WHERE c.type IN ('purchase', 'Order Completed') AND NOT c.bot AND c.event_time >= "from" AND c.event_time < "to"
) p
ORDER BY p.source, p.one, p.event_time, p.event_id
$$;
COMMENT ON FUNCTION purchases IS 'People''s orders in ["from", "to"): events of the type purchase (GA4) or Order Completed (Segment), one for each order_id or transaction_id of a source, the earliest. revenue: the property revenue, value or total (function amount); currency: the property, if it is three letters.';

CREATE FUNCTION attribution("from" timestamptz, "to" timestamptz, lookback interval DEFAULT '30 days')
RETURNS TABLE (
    medium text, campaign text, currency text,
    orders_first double precision, orders_last double precision, orders_linear double precision,
    revenue_first numeric, revenue_last numeric, revenue_linear numeric
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path FROM CURRENT SET enable_nestloop TO off SET enable_mergejoin TO off SET jit TO off
AS $$
WITH bought AS MATERIALIZED (
    SELECT row_number() OVER () AS number, coalesce(n.person_id, p.user_id) AS who, p.event_time, p.revenue, p.currency
    FROM purchases("from", "to") p LEFT JOIN people n ON n.id = p.user_id
), ids AS MATERIALIZED (
    SELECT b.who, b.who AS id FROM bought b
    UNION SELECT b.who, n.id FROM bought b JOIN people n ON n.person_id = b.who
), visits AS (
    SELECT i.who, s.session_id, s.started_at, s.medium, s.campaign
    FROM ids i JOIN sessions s ON s.user_id = i.id
    WHERE NOT s.bot AND s.started_at >= "from" - lookback AND s.started_at < "to"
), touches AS (
    SELECT b.number, v.medium, v.campaign, count(*) OVER w AS all_of_them,
           row_number() OVER (w ORDER BY v.started_at, v.session_id) AS from_first,
           row_number() OVER (w ORDER BY v.medium IN ('direct', 'internal'), v.started_at DESC, v.session_id) AS from_last
    FROM bought b JOIN visits v ON v.who = b.who AND v.started_at <= b.event_time AND v.started_at >= b.event_time - lookback
    WINDOW w AS (PARTITION BY b.number)
), credits AS (
    SELECT coalesce(t.medium, 'unknown') AS medium, t.campaign, b.currency, b.revenue,
           coalesce((t.from_first = 1)::integer, 1) AS of_first, coalesce((t.from_last = 1)::integer, 1) AS of_last,
           coalesce(1.0::double precision / t.all_of_them, 1) AS of_all
    FROM bought b LEFT JOIN touches t ON t.number = b.number
)
SELECT c.medium, c.campaign, c.currency,
       sum(c.of_first)::double precision, sum(c.of_last)::double precision, sum(c.of_all),
       coalesce(sum(c.revenue * c.of_first), 0), coalesce(sum(c.revenue * c.of_last), 0),
       coalesce(round(sum(c.revenue * c.of_all::numeric), 6), 0)
FROM credits c GROUP BY 1, 2, 3 ORDER BY 8 DESC, 1, 2, 3
$$;
COMMENT ON FUNCTION attribution IS 'Which channels and campaigns the orders in ["from", "to") are owed to: those of the person''s sessions (a visitor''s before they logged in included) within lookback before the order. By three models: the first; the last that was neither direct nor internal, if there is one; linear, all alike. unknown: no session is known.';
