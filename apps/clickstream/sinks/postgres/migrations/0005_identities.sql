-- Who visitors are: the latest traits of users and groups, which ids belong together, who is in which group (docs/adr/0019).
-- A trigger on the statement that inserts clicks keeps them, so that a sink of the release before does it as well. The
-- clicks that are there already are read by `clickstream setup` after this migration, while sinks write.

CREATE FUNCTION click_traits(properties jsonb, event_time timestamptz, received_at timestamptz, event_id text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(
    (extract(epoch FROM event_time) * 1000)::bigint, (extract(epoch FROM received_at) * 1000)::bigint, event_id,
    CASE WHEN octet_length(value #>> '{}') > 2048 THEN jsonb 'null' ELSE value END)), '{}')
FROM (
    SELECT key, value FROM jsonb_each(properties)
    WHERE octet_length(key) <= 256 AND key <> ALL (ARRAY['visitor_id', 'group_id', 'previous_id', 'message_id', 'context',
        'integrations', 'channel', '_metadata', 'originalTimestamp', 'receivedAt'])
    ORDER BY key COLLATE "C" LIMIT 100
) said
$$;
COMMENT ON FUNCTION click_traits IS 'The traits that a click says, by name: [event_time in ms, received_at in ms, event_id, value]. What is not said of somebody (ids, context) is left out, and a value of more than 2 KiB is null.';

-- The result depends on the traits alone, not on their order: for each name the greatest entry, and of the names those
-- with the greatest entries. What was left out once cannot come back by what is older than all that is kept.
CREATE FUNCTION merge_traits(one jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT CASE WHEN one = '{}' THEN other WHEN other = '{}' THEN one ELSE (
    SELECT jsonb_object_agg(name, entry)
    FROM (
        SELECT name, entry
        FROM (
            SELECT DISTINCT ON (name) name, entry
            FROM (
                SELECT key COLLATE "C" AS name, value AS entry FROM jsonb_each(one)
                UNION ALL
                SELECT key COLLATE "C", value FROM jsonb_each(other)
            ) every
            ORDER BY name, (entry ->> 0)::bigint DESC, (entry ->> 1)::bigint DESC, (entry ->> 2) COLLATE "C" DESC,
                (entry -> 3)::text COLLATE "C" DESC
        ) latest
        ORDER BY (entry ->> 0)::bigint DESC, (entry ->> 1)::bigint DESC, (entry ->> 2) COLLATE "C" DESC, name
        LIMIT 100
    ) kept
) END
$$;
COMMENT ON FUNCTION merge_traits IS 'The latest entry of each trait of both, by event time, then receipt, then event id; of more than 100 traits the latest 100.';

CREATE AGGREGATE latest_traits(jsonb) (
    SFUNC = merge_traits, STYPE = jsonb, INITCOND = '{}', COMBINEFUNC = merge_traits, PARALLEL = SAFE
);
COMMENT ON AGGREGATE latest_traits(jsonb) IS 'merge_traits of all of them, in any order.';

CREATE FUNCTION trait_values(trait_versions jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT coalesce(jsonb_object_agg(key, value -> 3), '{}') FROM jsonb_each(trait_versions) $$;
COMMENT ON FUNCTION trait_values IS 'The values of traits by name.';

CREATE FUNCTION traits_since(trait_versions jsonb, since timestamptz) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(trait_versions)
WHERE (value ->> 0)::bigint >= ceil(extract(epoch FROM since) * 1000)
$$;
COMMENT ON FUNCTION traits_since IS 'The traits that were said since then.';

CREATE FUNCTION oldest_trait(trait_versions jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$
SELECT to_timestamp(oldest / 1000) + (oldest % 1000) * interval '1 millisecond'
FROM (SELECT min((value ->> 0)::bigint) AS oldest FROM jsonb_each(trait_versions)) found
$$;
COMMENT ON FUNCTION oldest_trait IS 'When the oldest of the traits was said; NULL without any.';

CREATE TABLE users (
    user_id          text PRIMARY KEY,
    traits           jsonb GENERATED ALWAYS AS (trait_values(trait_versions)) STORED,
    first_identified timestamptz NOT NULL,
    last_identified  timestamptz NOT NULL,
    oldest_trait     timestamptz GENERATED ALWAYS AS (coalesce(oldest_trait(trait_versions), last_identified)) STORED,
    trait_versions   jsonb NOT NULL
);
CREATE INDEX users_oldest_trait ON users (oldest_trait);
COMMENT ON TABLE users IS 'Everybody of whom an identify event came within the retention, with their latest traits.';
COMMENT ON COLUMN users.user_id IS 'user_id of the identify events: a user, or a visitor who was described before logging in.';
COMMENT ON COLUMN users.traits IS 'The latest value of each trait, by event_time of the identify event that said it; the latest 100 traits.';
COMMENT ON COLUMN users.first_identified IS 'Event time of the first identify event that is known.';
COMMENT ON COLUMN users.last_identified IS 'Event time of the last identify event.';
COMMENT ON COLUMN users.oldest_trait IS 'When the oldest of the traits was said; last_identified without any. What the retention goes by.';
COMMENT ON COLUMN users.trait_versions IS 'What orders the values of each trait: [event_time in ms, received_at in ms, event_id, value].';

CREATE TABLE groups (
    group_id         text PRIMARY KEY,
    traits           jsonb GENERATED ALWAYS AS (trait_values(trait_versions)) STORED,
    first_identified timestamptz NOT NULL,
    last_identified  timestamptz NOT NULL,
    oldest_trait     timestamptz GENERATED ALWAYS AS (coalesce(oldest_trait(trait_versions), last_identified)) STORED,
    trait_versions   jsonb NOT NULL
);
CREATE INDEX groups_oldest_trait ON groups (oldest_trait);
COMMENT ON TABLE groups IS 'Every group (company, account) of which a group event came within the retention, with its latest traits.';
COMMENT ON COLUMN groups.group_id IS 'group_id of the group events, of at most 256 characters.';
COMMENT ON COLUMN groups.traits IS 'The latest value of each trait, by event_time of the group event that said it; the latest 100 traits.';
COMMENT ON COLUMN groups.first_identified IS 'Event time of the first group event that is known.';
COMMENT ON COLUMN groups.last_identified IS 'Event time of the last group event.';
COMMENT ON COLUMN groups.oldest_trait IS 'When the oldest of the traits was said; last_identified without any. What the retention goes by.';
COMMENT ON COLUMN groups.trait_versions IS 'What orders the values of each trait: [event_time in ms, received_at in ms, event_id, value].';

CREATE TABLE group_members (
    group_id   text NOT NULL,
    user_id    text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_day   date NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);
CREATE INDEX group_members_last_day ON group_members (last_day);
COMMENT ON TABLE group_members IS 'Who was said to be in which group, by the group events.';
COMMENT ON COLUMN group_members.group_id IS 'The group.';
COMMENT ON COLUMN group_members.user_id IS 'user_id of the group event.';
COMMENT ON COLUMN group_members.first_seen IS 'Event time of the first event that is known to say so.';
COMMENT ON COLUMN group_members.last_day IS 'UTC day of the event time of the last one.';

CREATE TABLE identity_edges (
    from_id    text NOT NULL,
    user_id    text NOT NULL,
    kind       text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_day   date NOT NULL,
    PRIMARY KEY (from_id, user_id, kind)
);
-- The first edge of an id is found at once, however many an id has.
CREATE INDEX identity_edges_first ON identity_edges (from_id, first_seen, user_id COLLATE "C");
CREATE INDEX identity_edges_user ON identity_edges (user_id);
CREATE INDEX identity_edges_last_day ON identity_edges (last_day);
COMMENT ON TABLE identity_edges IS 'Which ids are one person''s, as the events say. Resolved by the view people.';
COMMENT ON COLUMN identity_edges.from_id IS 'The id of before: a visitor''s (properties.visitor_id, Segment''s anonymousId), or an alias''s previous_id.';
COMMENT ON COLUMN identity_edges.user_id IS 'user_id of the event that had both.';
COMMENT ON COLUMN identity_edges.kind IS 'visitor: an event of any type had both; alias: an alias event said so.';
COMMENT ON COLUMN identity_edges.first_seen IS 'Event time of the first event that is known to say so.';
COMMENT ON COLUMN identity_edges.last_day IS 'UTC day of the event time of the last one.';

CREATE VIEW people AS
SELECT known.id,
       CASE WHEN second.user_id = known.id THEN least(known.id COLLATE "C", first.user_id COLLATE "C")
            ELSE coalesce(second.user_id, first.user_id, known.id) END AS person_id
FROM (
    SELECT user_id AS id FROM users
    UNION SELECT from_id FROM identity_edges
    UNION SELECT user_id FROM identity_edges
) known
LEFT JOIN LATERAL (
    SELECT e.user_id FROM identity_edges e WHERE e.from_id = known.id
    ORDER BY e.first_seen, e.user_id COLLATE "C" LIMIT 1
) first ON true
LEFT JOIN LATERAL (
    SELECT e.user_id FROM identity_edges e WHERE e.from_id = first.user_id
    ORDER BY e.first_seen, e.user_id COLLATE "C" LIMIT 1
) second ON true;
COMMENT ON VIEW people IS 'The person of every id of whom more is known than clicks: the user of its first identity edge, and of that one''s first edge. Other ids are people of their own: coalesce(person_id, user_id) after a left join.';
COMMENT ON COLUMN people.id IS 'A visitor''s or a user''s id, as in user_id of clicks, sessions and active_users_day.';
COMMENT ON COLUMN people.person_id IS 'The id that stands for the person: the same for all their ids.';

CREATE TABLE backfills (
    name        text PRIMARY KEY,
    finished_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE backfills IS 'What `clickstream setup` has computed from the clicks that were stored before a migration.';
COMMENT ON COLUMN backfills.name IS 'What was computed.';
COMMENT ON COLUMN backfills.finished_at IS 'When that was finished.';

-- Every upsert is sorted, so that two sinks lock in the same order. It must not fail for anything that a click may hold:
-- the click would be refused.
CREATE FUNCTION store_identities() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE type = 'identify') THEN
        INSERT INTO users AS u (user_id, first_identified, last_identified, trait_versions)
        SELECT user_id, min(event_time), max(event_time),
               latest_traits(click_traits(properties, event_time, received_at, event_id))
        FROM added WHERE type = 'identify' AND length(user_id) BETWEEN 1 AND 256
        GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET
            first_identified = least(u.first_identified, EXCLUDED.first_identified),
            last_identified = greatest(u.last_identified, EXCLUDED.last_identified),
            trait_versions = merge_traits(u.trait_versions, EXCLUDED.trait_versions);
    END IF;
    IF EXISTS (SELECT FROM added WHERE type = 'group') THEN
        INSERT INTO groups AS g (group_id, first_identified, last_identified, trait_versions)
        SELECT properties ->> 'group_id', min(event_time), max(event_time),
               latest_traits(click_traits(properties, event_time, received_at, event_id))
        FROM added WHERE type = 'group' AND length(properties ->> 'group_id') BETWEEN 1 AND 256
        GROUP BY 1 ORDER BY 1
        ON CONFLICT (group_id) DO UPDATE SET
            first_identified = least(g.first_identified, EXCLUDED.first_identified),
            last_identified = greatest(g.last_identified, EXCLUDED.last_identified),
            trait_versions = merge_traits(g.trait_versions, EXCLUDED.trait_versions);
        INSERT INTO group_members AS m (group_id, user_id, first_seen, last_day)
        SELECT properties ->> 'group_id', user_id, min(event_time), (max(event_time) AT TIME ZONE 'UTC')::date
        FROM added WHERE type = 'group' AND length(properties ->> 'group_id') BETWEEN 1 AND 256
            AND length(user_id) BETWEEN 1 AND 256
        GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (group_id, user_id) DO UPDATE SET
            first_seen = least(m.first_seen, EXCLUDED.first_seen), last_day = greatest(m.last_day, EXCLUDED.last_day)
        WHERE m.first_seen > EXCLUDED.first_seen OR m.last_day < EXCLUDED.last_day;
    END IF;
    INSERT INTO identity_edges AS e (from_id, user_id, kind, first_seen, last_day)
    SELECT from_id, user_id, kind, min(event_time), (max(event_time) AT TIME ZONE 'UTC')::date
    FROM (
        SELECT properties ->> 'visitor_id' AS from_id, user_id, 'visitor' AS kind, event_time
        FROM added WHERE properties ->> 'visitor_id' <> user_id
        UNION ALL
        SELECT properties ->> 'previous_id', user_id, 'alias', event_time
        FROM added WHERE type = 'alias' AND properties ->> 'previous_id' <> user_id
    ) said
    WHERE length(from_id) BETWEEN 1 AND 256 AND length(user_id) BETWEEN 1 AND 256
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    -- Not by a join with what is known: its plan, made once a connection, could be that for an empty table.
    ON CONFLICT (from_id, user_id, kind) DO UPDATE SET
        first_seen = least(e.first_seen, EXCLUDED.first_seen), last_day = greatest(e.last_day, EXCLUDED.last_day)
    WHERE e.first_seen > EXCLUDED.first_seen OR e.last_day < EXCLUDED.last_day;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION store_identities IS 'Keeps users, groups, group_members and identity_edges: run once for each statement that inserts clicks, on the new ones.';

CREATE TRIGGER clicks_identities AFTER INSERT ON clicks REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION store_identities();
COMMENT ON TRIGGER clicks_identities ON clicks IS 'Keeps users, groups, group_members and identity_edges.';

-- What enrichment says since this release.
COMMENT ON COLUMN clicks.medium IS 'The channel: paid, search, social, email, ai, affiliate, referral, campaign, internal or direct (docs/channels.md).';
COMMENT ON COLUMN clicks.referrer_source IS 'A known search engine, network, assistant or mail service (google, facebook, chatgpt), utm_source, or the referrer''s host.';
