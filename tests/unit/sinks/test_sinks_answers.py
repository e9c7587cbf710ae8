"""What the answers of the stores mean: for now, for good, or a fault of ours."""

from __future__ import annotations

import psycopg
import pytest
from elastic_transport import ApiResponseMeta, ConnectionTimeout, HttpHeaders, NodeConfig
from elastic_transport import ConnectionError as NoConnectionError
from elasticsearch import ApiError

from clickstream.sinks.elasticsearch.bulk import Verdict, error_of, field_of, judge, split
from clickstream.sinks.elasticsearch.client import missing_privilege, trouble
from clickstream.sinks.elasticsearch.sink import _told
from clickstream.sinks.postgres.connection import is_bad_data, is_for_now, told


def answer(status, kind="", reason=""):
    return {"status": status} | ({"error": {"type": kind, "reason": reason}} if kind else {})


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(201), Verdict.NEW),
        (answer(200), Verdict.NEW),
        (answer(409, "version_conflict_engine_exception"), Verdict.CONFLICT),
        (answer(429, "es_rejected_execution_exception"), Verdict.LATER),
        (answer(429, "cluster_block_exception"), Verdict.BLOCKED),
        (answer(403, "cluster_block_exception"), Verdict.BLOCKED),
        (answer(404, "index_not_found_exception"), Verdict.BLOCKED),
        (answer(503, "unavailable_shards_exception"), Verdict.BLOCKED),
        (answer(500, "whatever"), Verdict.LATER),
        (answer(400, "validation_exception", "this action would add [2] shards"), Verdict.BLOCKED),
        (answer(400, "index_closed_exception"), Verdict.BLOCKED),
        (answer(400, "document_parsing_exception"), Verdict.REFUSED),
        (answer(400, "mapper_parsing_exception"), Verdict.REFUSED),
        (answer(400, "strict_dynamic_mapping_exception"), Verdict.BLOCKED),
        (answer(400, "illegal_argument_exception", "Document contains at least one immense term in"), Verdict.REFUSED),
    ],
)
def test_a_bulk_action_is_judged_by_status_and_type(given, verdict):
    assert judge(given) is verdict


@pytest.mark.parametrize("kind", ["invalid_index_name_exception", "illegal_argument_exception", "unknown"])
def test_an_answer_that_nobody_knows_is_the_one_documents(kind):
    assert judge(answer(400, kind, "whatever")) is Verdict.REFUSED


def test_the_field_is_named_without_the_value():
    parsing = answer(
        400, "document_parsing_exception", "[1:8] failed to parse field [ip] of type [ip]. Preview: 'secret'"
    )
    assert (field_of(parsing), field_of(answer(400, "a", "b"))) == ("ip", None)


def test_bulk_requests_are_split_by_size_and_nothing_is_left_out():
    assert list(split([], 10)) == []
    assert list(split([b"x" * 4] * 5, 10)) == [(0, 2), (2, 4), (4, 5)]
    assert list(split([b"x" * 50, b"x", b"x" * 50], 10)) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("status", "passes"), [(429, True), (503, True), (401, True), (403, True), (400, False), (405, False)]
)
def test_a_refused_request_may_pass_or_not(status, passes):
    node = NodeConfig("http", "localhost", 9200)
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, node)
    assert (trouble(ApiError("refused", meta, {})) is not None) is passes
    assert trouble(NoConnectionError("refused")) is not None
    assert trouble(ConnectionTimeout("late")) is not None


@pytest.mark.parametrize(
    ("error", "for_now", "bad_data"),
    [
        (psycopg.OperationalError("connection refused"), True, False),
        (psycopg.InterfaceError("misused"), False, False),
        (psycopg.errors.SerializationFailure(), True, False),
        (psycopg.errors.DeadlockDetected(), True, False),
        (psycopg.errors.TooManyConnections(), True, False),
        (psycopg.errors.DiskFull(), True, False),
        (psycopg.errors.AdminShutdown(), True, False),
        (psycopg.errors.CannotConnectNow(), True, False),
        (psycopg.errors.QueryCanceled(), True, False),
        (psycopg.errors.LockNotAvailable(), True, False),
        (psycopg.errors.ReadOnlySqlTransaction(), True, False),
        (psycopg.errors.InvalidPassword(), True, False),
        (psycopg.errors.InvalidTextRepresentation(), False, True),
        (psycopg.errors.CharacterNotInRepertoire(), False, True),
        (psycopg.errors.NumericValueOutOfRange(), False, True),
        (psycopg.errors.NotNullViolation(), False, True),
        (psycopg.errors.CheckViolation(), False, True),
        (psycopg.errors.ProgramLimitExceeded(), False, True),
        (psycopg.errors.UndefinedColumn(), False, False),
        (psycopg.errors.SyntaxError(), False, False),
        (psycopg.errors.UniqueViolation(), False, False),
    ],
)
def test_an_error_of_postgres_is_for_now_or_of_the_data_or_ours(error, for_now, bad_data):
    assert (is_for_now(error), is_bad_data(error)) == (for_now, bad_data)
    assert told(error)


DENIED = (
    "action [indices:admin/index_template/put] is unauthorized for user [shop-secret-user] with effective roles [a], "
    "this action is granted by the cluster privileges [manage_index_templates,manage,all]"
)
"""As Elasticsearch 9 writes it."""


def test_a_missing_privilege_is_named_and_the_user_is_not():
    meta = ApiResponseMeta(403, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "localhost", 9200))
    body = {"error": {"type": "security_exception", "reason": DENIED}, "status": 403}
    expected = (
        "HTTP 403 security_exception: the user's roles do not allow indices:admin/index_template/put; one of the "
        "cluster privileges manage_index_templates, manage, all would"
    )
    assert trouble(ApiError("security_exception", meta, body)) == expected
    assert missing_privilege("failed to authenticate user [shop-secret-user]") == ""


def test_a_refused_action_tells_its_privilege_and_not_the_user():
    told = _told(403, *error_of(answer(403, "security_exception", DENIED)))
    assert "manage_index_templates" in told
    assert "secret" not in told
