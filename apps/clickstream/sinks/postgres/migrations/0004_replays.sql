-- Clicks that a replay wrote again, and sessions that are read with the funnels that were in force at their replay. A
-- sink of the release before goes on working: it writes neither.

ALTER TABLE clicks ADD COLUMN replayed_at timestamptz;
COMMENT ON COLUMN clicks.replayed_at IS 'Start of the replay that changed or inserted the click last; NULL: it is as it was enriched when it came.';

-- The version of a replayed session is 2^52 and the start of its replay in ms.
CREATE FUNCTION funnels_as_of(version bigint, started_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT CASE WHEN version BETWEEN 4503599627370496 AND 4503599627370496 + 253402300799999
            THEN to_timestamp((version - 4503599627370496) / 1000) ELSE started_at END
$$;
COMMENT ON FUNCTION funnels_as_of IS 'The time whose funnel versions a session is read with: its start, or that of the replay which wrote it.';

CREATE OR REPLACE VIEW funnel_sessions AS
SELECT f.funnel, f.version, f.steps, least(coalesce((s.funnels ->> f.funnel)::integer, 0), f.steps) AS furthest,
       s.session_id, s.user_id, s.started_at, s.duration, s.device, s.medium, s.country, s.bot
FROM (
    SELECT funnel, version, valid_from, valid_to, max(step) AS steps
    FROM funnels GROUP BY funnel, version, valid_from, valid_to
) f
JOIN sessions s ON funnels_as_of(s.version, s.started_at) >= f.valid_from
    AND (f.valid_to IS NULL OR funnels_as_of(s.version, s.started_at) < f.valid_to);
COMMENT ON VIEW funnel_sessions IS 'How far each session got in each funnel, in the version that was in force when it started, or when it was replayed; bots are marked, not left out.';
COMMENT ON COLUMN funnel_sessions.version IS 'The version in force when the session started, or when it was replayed.';

CREATE OR REPLACE VIEW funnel_results AS
SELECT f.funnel, f.version, f.step, f.step_name,
       (s.started_at AT TIME ZONE p.time_zone)::date AS day,
       count(*) AS sessions
FROM funnels f
JOIN sessions s ON funnels_as_of(s.version, s.started_at) >= f.valid_from
    AND (f.valid_to IS NULL OR funnels_as_of(s.version, s.started_at) < f.valid_to)
    AND (s.funnels ->> f.funnel)::integer >= f.step
CROSS JOIN pipeline p
WHERE NOT s.bot
GROUP BY f.funnel, f.version, f.step, f.step_name, day;
COMMENT ON VIEW funnel_results IS 'Sessions that reached each step in order, by the day on which they started, bots left out.';

COMMENT ON COLUMN funnels.valid_from IS 'Sessions that start, or are replayed, from then on count in this version; the first version is valid from the beginning of time.';
