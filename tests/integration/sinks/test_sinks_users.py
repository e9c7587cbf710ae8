"""Users, groups and identity edges in the warehouse: whatever comes, in any order, twice, from two sinks, before and
after the migration, the tables are what the clicks say."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest

from clickstream.contracts.pipeline import Sinks
from clickstream.contracts.replays import Replay
from clickstream.setup.main import set_up
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres import installation
from clickstream.sinks.postgres.connection import connect
from clickstream.sinks.postgres.reader_role import reader_role
from clickstream.sinks.postgres.recomputation import recompute
from clickstream.sinks.postgres.retention import apply_retention

AT = 1_767_261_600_000
DAY = 86_400_000
NO_TRAITS = {"visitor_id", "group_id", "previous_id", "context"}
TABLES = ("users", "groups", "group_members", "identity_edges")


@pytest.fixture
def event(make_click):
    """An event of a type with properties; `at` is its event time, a second later it was received."""

    def make(event_id, kind, user, at=AT, **properties):
        source, path = properties.pop("source", "web"), properties.pop("path", "/")
        return make_click(
            event_id, type=kind, user_id=user, timestamp=AT, event_time=at, received_at=at + 1_000, source=source,
            page_path=path, properties=properties,
        )  # fmt: skip

    return make


@pytest.fixture
def differences(pipeline):
    """What `clickstream check` says of the tables of this page."""

    def found():
        with connect(pipeline.sinks.postgres, pipeline.names.schema, "check") as connection:
            return [str(each) for each in recompute(connection, pipeline, 0, print) if each.part in TABLES]

    return found


def write(sink, made):
    outcome = sink.write(made)
    assert (outcome.refused, outcome.later, outcome.blocked) == ([], [], [])
    return outcome


def moment(at):
    return datetime.fromtimestamp(at / 1_000, UTC)


class Model:
    """The tables, by the rules."""

    def __init__(self, clicks):
        self.traits = {"identify": {}, "group": {}}
        self.spans = {"identify": {}, "group": {}}
        self.members, self.edges = {}, {}
        for click in clicks:
            said, user, at = click.properties, click.user_id, click.event_time
            if click.type in self.traits:
                key = user if click.type == "identify" else said["group_id"]
                order = (at, click.received_at, click.event_id)
                kept = self.traits[click.type].setdefault(key, {})
                for name, value in said.items():
                    if name not in NO_TRAITS and (name not in kept or kept[name][0] < order):
                        kept[name] = (order, value)
                self._span(self.spans[click.type], key, at)
            if click.type == "group":
                self._span(self.members, (said["group_id"], user), at)
            if said.get("visitor_id", user) != user:
                self._span(self.edges, (said["visitor_id"], user, "visitor"), at)
            if click.type == "alias" and said["previous_id"] != user:
                self._span(self.edges, (said["previous_id"], user, "alias"), at)

    @staticmethod
    def _span(spans, key, at):
        first, last = spans.get(key, (at, at))
        spans[key] = min(first, at), max(last, at)

    def subjects(self, kind):
        return {
            key: (self._latest(kind, key), moment(first), moment(last))
            for key, (first, last) in self.spans[kind].items()
        }

    def _latest(self, kind, key):
        kept = self.traits[kind].get(key, {}).items()
        latest = sorted(sorted(kept, key=lambda item: item[0]), key=lambda item: item[1][0], reverse=True)[:100]
        return {name: value for name, (_, value) in latest}


def days(spans):
    return {key: (moment(first), moment(last).date()) for key, (first, last) in spans.items()}


def assert_stored(stores, clicks):
    model = Model(clicks)
    for table, key, kind in (("users", "user_id", "identify"), ("groups", "group_id", "group")):
        rows = stores.sql(f"SELECT {key}, traits, first_identified, last_identified FROM {table}")
        assert {row[0]: row[1:] for row in rows} == model.subjects(kind)
    rows = stores.sql("SELECT group_id, user_id, first_seen, last_day FROM group_members")
    assert {row[:2]: row[2:] for row in rows} == days(model.members)
    rows = stores.sql("SELECT from_id, user_id, kind, first_seen, last_day FROM identity_edges")
    assert {row[:3]: row[3:] for row in rows} == days(model.edges)


def log_of(event, seed, count):
    """Calls of few users at few moments: ties in time, and more different traits than are kept."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        user = chance.choice(("ann", "bob", "zoë"))
        at = AT + chance.randrange(30) * DAY // 7
        kind = chance.choice(("identify", "identify", "group", "alias", "page_view"))
        said = {} if chance.random() < 0.3 else {"visitor_id": chance.choice(("v1", "v2", user))}
        if kind in {"identify", "group"}:
            names = [f"trait-{chance.randrange(150)}" for _ in range(chance.randrange(12))]
            said |= {name: chance.choice((None, True, number, number / 8, f"ü{number}")) for name in names}
        if kind == "group":
            said["group_id"] = chance.choice(("acme", "initech"))
        if kind == "alias":
            said["previous_id"] = chance.choice(("ann", "bob", "old"))
        made.append(event(f"e{number}", kind, user, at, **said, context="{}"))
    return made


@pytest.mark.parametrize("seed", range(3))
def test_any_order_any_batches_and_twice_by_two_sinks_in_turn(
    seed, pipeline, stores, open_sink, records, event, differences
):
    clicks = log_of(event, seed, 600)
    chance = random.Random(seed)
    sinks = open_sink("postgres"), make_sink("postgres", pipeline)
    sent = clicks + chance.sample(clicks, 200)
    chance.shuffle(sent)
    while sent:
        count = chance.randrange(1, 80)
        write(chance.choice(sinks), records(*sent[:count]))
        del sent[:count]
    sinks[1].close()
    assert_stored(stores, clicks)
    assert stores.sql("SELECT count(*) FROM jsonb_object_keys((SELECT traits FROM users WHERE user_id = 'ann'))") == [
        (100,)
    ]
    assert differences() == []


def test_two_sinks_at_once(pipeline, stores, open_sink, records, event, differences):
    open_sink("postgres")
    clicks = log_of(event, "at once", 1_500)
    trouble = []

    def work(seed):
        sink = make_sink("postgres", pipeline)
        mine = random.Random(seed).sample(clicks, len(clicks))
        for first in range(0, len(mine), 50):
            left = records(*mine[first : first + 50])
            for _ in range(20):  # a deadlock is for now
                outcome = sink.write(left)
                trouble.extend(outcome.refused)
                left = [*outcome.later, *outcome.blocked]
                if not left:
                    break
            trouble.extend(left)
        sink.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    assert_stored(stores, clicks)
    assert differences() == []


def test_the_latest_value_of_each_trait_stands_and_never_goes_back(stores, open_sink, records, event):
    sink = open_sink("postgres")
    steps = [
        (event("a", "identify", "ann", AT, plan="free", email="a@b.c"), {"plan": "free", "email": "a@b.c"}),
        (event("b", "identify", "ann", AT + 9, plan="pro"), {"plan": "pro", "email": "a@b.c"}),
        (event("c", "identify", "ann", AT + 5, plan="trial", age=3), {"plan": "pro", "email": "a@b.c", "age": 3}),
        (event("a", "identify", "ann", AT + 50, plan="again"), {"plan": "pro", "email": "a@b.c", "age": 3}),
        (event("d", "identify", "ann", AT + 10, email=None), {"plan": "pro", "email": None, "age": 3}),
        (event("e", "identify", "ann", AT + 10, email="tie"), {"plan": "pro", "email": "tie", "age": 3}),
        (event("c2", "identify", "ann", AT + 10, email="no"), {"plan": "pro", "email": "tie", "age": 3}),
        (event("e", "identify", "ann", AT + 10, email="a", source="app"), {"plan": "pro", "email": "tie", "age": 3}),
        (event("e", "identify", "ann", AT + 10, email="z", source="x"), {"plan": "pro", "email": "z", "age": 3}),
        (event("f", "track", "ann", AT + 99, plan="no trait"), {"plan": "pro", "email": "z", "age": 3}),
    ]  # fmt: skip
    for click, traits in steps:
        write(sink, records(click))
        assert stores.sql("SELECT traits FROM users") == [(traits,)], click.event_id
    assert stores.sql("SELECT first_identified, last_identified FROM users") == [(moment(AT), moment(AT + 10))]


def test_people_are_resolved_in_two_steps_by_the_first_edge(stores, open_sink, records, event):
    sink = open_sink("postgres")
    calls = [
        event("1", "page_view", "v1", visitor_id="v1"),  # nobody yet: no edge
        event("2", "identify", "ann", AT + 2, visitor_id="v1", plan="pro"),
        event("3", "page_view", "ann", AT + 3, visitor_id="v2"),  # another device, no identify
        event("4", "page_view", "bob", AT + 4, visitor_id="v1"),  # the same browser, later
        event("5", "alias", "ann@new", AT + 5, previous_id="ann"),
        event("6", "alias", "p", AT + 6, previous_id="q"),
        event("7", "alias", "q", AT + 7, previous_id="p"),
        event("8", "identify", "lone", AT + 8, plan="x"),
    ]
    write(sink, records(*calls))
    people = {
        "v1": "ann@new", "v2": "ann@new", "ann": "ann@new", "ann@new": "ann@new",
        "bob": "bob", "p": "p", "q": "p", "lone": "lone",
    }  # fmt: skip
    assert dict(stores.sql("SELECT id, person_id FROM people")) == people
    # What is said of before comes late, and is the first edge all the same.
    write(sink, records(event("9", "page_view", "carl", AT + 1, visitor_id="v1")))
    assert dict(stores.sql("SELECT id, person_id FROM people WHERE id IN ('v1', 'v2')")) == {
        "v1": "carl", "v2": "ann@new"
    }  # fmt: skip


def test_an_id_of_very_many_others_is_one_row_a_person(stores, open_sink, records, event):
    sink = open_sink("postgres")
    many = 4_000
    kiosk = [event(f"a{n}", "page_view", "kiosk", AT + n, visitor_id=f"v{n}") for n in range(many)]
    shared = [event(f"b{n}", "page_view", f"u{n}", AT + n, visitor_id="shared") for n in range(many)]
    for first in range(0, many, 1_000):
        write(sink, records(*kiosk[first : first + 1_000], *shared[first : first + 1_000]))
    assert stores.sql("SELECT count(*), count(DISTINCT id) FROM people") == [(2 * many + 2, 2 * many + 2)]
    assert stores.sql("SELECT person_id FROM people WHERE id = 'shared'") == [("u0",)]
    assert stores.sql("SELECT person_id FROM people WHERE id = 'v77'") == [("kiosk",)]
    stores.sql("ANALYZE identity_edges")
    plan = "\n".join(line for (line,) in stores.sql("EXPLAIN SELECT person_id FROM people WHERE id = 'v77'"))
    assert "Seq Scan on identity_edges" not in plan


def test_hostile_traits_and_ids_hurt_nobody_else(stores, open_sink, records, event, differences):
    sink = open_sink("postgres")
    long = "ü" * 4_000
    at = AT + 1
    clicks = [
        event("keys", "identify", "ann", at, **{f"k{n:05}": n for n in range(10_000)}),
        event("huge", "identify", "bob", at, bio="x" * 900_000, fits="x" * 2_048, name="bob", **{"n" * 257: 1}),
        event("deep", "identify", "carl", at, tree="[" * 10_000, number=1e22),
        event("names", "identify", "dora", at, **{"": 1, "'; DROP TABLE users; --": 2, "\\": "\\N", "ü🛒": '"'}),
        event("ids", "identify", "🛒" * 256, at, visitor_id="🙂" * 256),
        event("alias", "alias", "🛒" * 256, at, previous_id="🙂" * 255),
        event("longer", "page_view", "eve", at, visitor_id="v" * 257),
        event("longest", "alias", "eve", at, previous_id=long, visitor_id=long),
        event("kinds", "alias", "eve", at, previous_id=5, visitor_id=True),
        event("none", "alias", "eve", at, previous_id=None, visitor_id=""),
        event("group", "group", "🛒" * 256, at, group_id="🙂" * 256, plan="x"),
        event("groups", "group", "eve", at, group_id=long),
        event("no-group", "group", "eve", at),
        event("nobody", "identify", "", at, visitor_id="v", plan="x"),
    ]
    write(sink, records(*clicks))
    assert stores.sql("SELECT count(*) FROM clicks") == [(len(clicks),)]
    traits = dict(stores.sql("SELECT user_id, traits FROM users"))
    assert traits == {
        "ann": {f"k{n:05}": n for n in range(100)},
        "bob": {"bio": None, "fits": "x" * 2_048, "name": "bob"},
        "carl": {"tree": None, "number": 1e22},
        "dora": {"": 1, "'; DROP TABLE users; --": 2, "\\": "\\N", "ü🛒": '"'},
        "🛒" * 256: {},
    }
    assert stores.sql("SELECT group_id, user_id FROM group_members") == [("🙂" * 256, "🛒" * 256)]
    assert stores.sql('SELECT from_id, user_id FROM identity_edges ORDER BY from_id COLLATE "C"') == [
        ("5", "eve"), ("true", "eve"), ("🙂" * 255, "🛒" * 256), ("🙂" * 256, "🛒" * 256)
    ]  # fmt: skip
    nul = sink.write(records(event("nul", "identify", "frank", at, a="\0"), event("good", "identify", "gina", at, a=1)))
    assert [refused.code for refused in nul.refused] != []
    assert stores.sql("SELECT user_id, traits FROM users WHERE user_id IN ('frank', 'gina')") == [("gina", {"a": 1})]
    # Nobody's traits grow without end.
    for batch in range(5):
        more = [
            event(f"m{batch}-{n}", "identify", "ann", AT + 2, **{f"{batch}-{n}-{i}": "y" * 2_000 for i in range(60)})
            for n in range(20)
        ]
        write(sink, records(*more))
    assert stores.sql("SELECT octet_length(traits::text) < 250_000 FROM users WHERE user_id = 'ann'") == [(True,)]
    assert differences() == []


def test_clicks_from_before_the_migration_are_read_and_an_old_sink_goes_on(
    pipeline, stores, records, event, install_release, monkeypatch, differences
):
    clicks = log_of(event, "before", 300)
    undated = event("undated", "identify", "ann", AT - 90 * DAY, old="yes")
    undated = msgspec.structs.replace(undated, storage_day="undated")
    install_release(4)
    whole = installation.migrations()
    # The old sink is this release's code: it needs the columns that came later.
    columns = [later for later in whole[5:] if "ADD COLUMN" in later.text]
    for later in columns:
        stores.sql(later.text)
    after = [dataclasses.replace(later, text="SELECT") if later in columns else later for later in whole[5:]]
    monkeypatch.setattr(installation, "migrations", lambda: [*whole[:5], *after])
    with monkeypatch.context() as before:
        before.setattr(installation, "migrations", lambda: whole[:4])
        old = make_sink("postgres", pipeline)
        write(old, records(*clicks[:100], undated))
    new = make_sink("postgres", pipeline)
    waiting = new.write(records(clicks[100]))
    assert len(waiting.later) == 1
    assert "has version 4" in waiting.trouble

    stores.set_up("postgres")
    done = stores.sql("SELECT * FROM backfills")
    write(old, records(*clicks[:150]))  # on the connection of before
    write(new, records(*clicks[120:220]))
    write(old, records(*clicks[200:]))
    old.close()
    new.close()
    assert_stored(stores, [*clicks, undated])
    assert differences() == []
    stores.set_up("postgres")
    assert stores.sql("SELECT * FROM backfills") == done, "once"
    assert_stored(stores, [*clicks, undated])


def test_a_backfill_that_was_ended_begins_anew_and_adds_nothing_twice(
    pipeline, stores, records, event, install_release
):
    clicks = log_of(event, "ended", 100)
    install_release(len(installation.migrations()))  # without what comes after the migrations
    sink = make_sink("postgres", pipeline)
    stores.sql("ALTER TABLE clicks DISABLE TRIGGER clicks_identities")
    write(sink, records(*clicks[:50]))
    stores.sql("ALTER TABLE clicks ENABLE TRIGGER clicks_identities")
    write(sink, records(*clicks[50:]))
    sink.close()
    for _ in range(2):
        stores.set_up("postgres")
        assert_stored(stores, clicks)
        assert stores.sql("DELETE FROM backfills RETURNING name") == [("identities",)]


def test_replayed_clicks_change_nothing_that_they_say(stores, open_sink, records, event, differences):
    sink = open_sink("postgres")
    clicks = log_of(event, "replay", 200)
    made = records(*clicks)
    write(sink, made[:120])
    again = [msgspec.structs.replace(click, title="new", bot=True) for click in clicks]
    outcome = write(sink, [dataclasses.replace(each, replay=Replay(AT, False)) for each in records(*again)])
    assert (outcome.stored["click"], outcome.replaced["click"]) == (80, 120)
    assert_stored(stores, clicks)
    assert differences() == []


def test_what_was_said_longer_ago_than_the_retention_goes(pipeline, stores, open_sink, records, make_click):
    now = int(time.time() * 1_000)

    def said(event_id, days_ago, kind, user, **properties):
        at = now - days_ago * DAY
        return make_click(event_id, type=kind, user_id=user, event_time=at, properties=properties)

    sink = open_sink("postgres")
    write(sink, records(
        said("1", 9, "identify", "gone", plan="x", visitor_id="v-gone"),
        said("2", 9, "identify", "ann", old="x", plan="free"),
        said("3", 1, "identify", "ann", plan="pro", visitor_id="v"),
        said("4", 9, "identify", "bare", old="x"),
        said("5", 1, "identify", "bare"),
        said("6", 9, "group", "ann", group_id="gone", plan="x"),
        said("7", 1, "group", "ann", group_id="acme", plan="x"),
    ))  # fmt: skip
    spec = msgspec.structs.replace(pipeline.sinks.postgres, retention="3d")
    short = msgspec.structs.replace(pipeline, sinks=Sinks(pipeline.sinks.elasticsearch, spec))
    for _ in range(2):
        set_up("postgres", short, "retention", 30, print)
        assert stores.sql("SELECT user_id, traits, first_identified FROM users ORDER BY 1") == [
            ("ann", {"plan": "pro"}, moment(now - 9 * DAY)),
            ("bare", {}, moment(now - 9 * DAY)),
        ]
        assert stores.sql("SELECT group_id FROM groups") == [("acme",)]
        assert stores.sql("SELECT group_id FROM group_members") == [("acme",)]
        assert stores.sql("SELECT from_id FROM identity_edges") == [("v",)]
        with connect(spec, pipeline.names.schema, "check") as connection:
            apply_retention(connection, pipeline.names.schema, "3d")
            assert [str(each) for each in recompute(connection, short, 0, print) if each.part in TABLES] == []


@pytest.mark.parametrize(
    ("tamper", "part", "said"),
    [
        ("DELETE FROM users WHERE user_id = 'ann'", "users", "stored None"),
        ("UPDATE users SET trait_versions = '{}' WHERE user_id = 'ann'", "users", "traits {plan}"),
        ("UPDATE users SET first_identified = first_identified + interval '1 s'", "users", "ann"),
        ("UPDATE groups SET last_identified = last_identified + interval '1 s'", "groups", "acme"),
        ("INSERT INTO group_members VALUES ('acme', 'who', '2026-01-01', '2026-01-01')", "group_members", "acme who"),
        ("UPDATE identity_edges SET last_day = last_day + 1", "identity_edges", "v ann visitor"),
        ("DELETE FROM identity_edges", "identity_edges", "stored None"),
    ],
)
def test_check_names_what_differs_and_no_value(tamper, part, said, stores, open_sink, records, event, differences):
    write(open_sink("postgres"), records(
        event("1", "identify", "ann", plan="secret-plan", visitor_id="v"),
        event("2", "group", "ann", group_id="acme", size=5),
    ))  # fmt: skip
    assert differences() == []
    stores.sql(tamper)
    [found] = differences()
    assert found.startswith(f"{part}: ")
    assert said in found
    assert "secret" not in found


PAGE = Path(__file__).parents[3] / "docs" / "warehouse.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("\n## Users, groups and people\n")[2].partition("\n## ")[0]
SAMPLES = re.findall(r"```sql\n(.*?)```\n((?:\|[^\n]*\n)+)", SECTION, re.DOTALL)


def test_the_samples_of_the_page_answer_what_it_says(pipeline, stores, open_sink, records, event):
    write(open_sink("postgres"), records(
        event("1", "page_view", "visitor", AT, visitor_id="visitor", path="/pricing"),
        event("2", "identify", "ann", AT + 1, visitor_id="visitor", plan="pro"),
        event("3", "group", "ann", AT + 2, visitor_id="visitor", group_id="acme", name="Acme"),
        event("4", "alias", "u-1", AT + 3, previous_id="ann"),
        event("5", "page_view", "u-1", AT + 4, visitor_id="visitor", path="/welcome"),
        event("6", "group", "u-1", AT + 5, group_id="acme"),
        event("7", "page_view", "phone-visitor", AT + 6, visitor_id="phone-visitor", path="/pricing"),
        event("8", "identify", "ann", AT + 7, visitor_id="phone-visitor"),
        event("9", "page_view", "nobody", AT + 8, visitor_id="nobody", path="/pricing"),
    ))  # fmt: skip
    assert len(SAMPLES) == SECTION.count("```sql") == 4
    with psycopg.connect(pipeline.sinks.postgres.dsn) as connection:
        connection.execute(f'SET search_path TO "{pipeline.names.schema}"')
        connection.execute(f'SET ROLE "{reader_role(pipeline.names.schema)}"')
        for sql, answer in SAMPLES:
            cursor = connection.execute(sql)
            head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in answer.splitlines()]
            assert [column.name for column in cursor.description] == head
            assert [[str(value) for value in row] for row in cursor] == body
