"""The commands' face: help, exit statuses, settings errors that name the setting and never a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme

from clickstream.contracts.pipeline import ElasticsearchSink, PostgresSink
from clickstream.runtime.settings import SettingsError, load_pipeline
from clickstream.setup import main as setup_command
from clickstream.sinks import main as sink_command
from clickstream.sinks.elasticsearch.client import connect
from clickstream.sinks.main import make_sink
from clickstream.sinks.postgres.connection import conninfo_of
from clickstream.sinks.settings import read_sink_settings


@pytest.fixture
def document(tmp_path):
    def write(**sinks):
        path = tmp_path / "pipeline.json"
        path.write_text(
            json.dumps({"namespace": "n", "name": "p", "kafka": {"bootstrapServers": "x:1"}, "sinks": sinks})
        )
        return str(path)

    return write


@pytest.mark.parametrize("command", [sink_command.main, setup_command.main])
def test_help_names_arguments_and_environment(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "elasticsearch" in shown
    assert "CLICKSTREAM_PIPELINE" in shown


@pytest.mark.parametrize("command", [sink_command.main, setup_command.main])
@pytest.mark.parametrize("arguments", [[], ["mysql"], ["postgres", "--no-such-option"]])
def test_wrong_arguments_are_status_2(command, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", [sink_command.main, setup_command.main])
def test_a_store_that_the_document_does_not_name_is_a_settings_error(command, document, capsys):
    assert command(["postgres", "--pipeline", document(elasticsearch={"url": "http://x"})]) == 2
    assert "has no sinks.postgres" in capsys.readouterr().err
    assert command(["postgres", "--pipeline", "/no/such/file"]) == 2
    assert "/no/such/file" in capsys.readouterr().err


def test_topics_have_no_job_for_retention(document, capsys):
    with pytest.raises(SystemExit) as ended:
        setup_command.main(["topics", "--retention-only", "--pipeline", document()])
    assert ended.value.code == 2
    assert "Kafka applies their retention" in capsys.readouterr().err


def test_limits_come_from_the_environment(document):
    path = document(postgres={"dsn": "postgresql://x"})
    assert read_sink_settings({}, path).limits.records == 2_000
    given = {"CLICKSTREAM_SINK_BATCH_RECORDS": "7", "CLICKSTREAM_SINK_LINGER_MS": "50"}
    assert (read_sink_settings(given, path).limits.records, read_sink_settings(given, path).limits.linger_seconds) == (
        7,
        0.05,
    )
    with pytest.raises(SettingsError, match="CLICKSTREAM_SINK_BATCH_RECORDS"):
        read_sink_settings({"CLICKSTREAM_SINK_BATCH_RECORDS": "0"}, path)


def test_the_dsn_may_lie_in_a_file_and_a_certificate_authority_is_binding(tmp_path):
    secret = tmp_path / "dsn"
    secret.write_text("host=db user=u password='hush hush' sslmode=disable connect_timeout=9\n")
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    whole = conninfo_of(PostgresSink(dsn_file=str(secret), ca_file=str(authority)), "test")
    assert "password='hush hush'" in whole
    assert "sslmode=verify-full" in whole
    assert f"sslrootcert={authority}" in whole
    assert "connect_timeout=9" in whole


def test_an_authority_that_is_none_is_told_at_once_and_by_its_field(tmp_path):
    secret = tmp_path / "dsn"
    secret.write_text("host=db user=u password=hush")
    for path, message in ((tmp_path / "absent.pem", "cannot read"), (secret, "holds no PEM certificate")):
        with pytest.raises(SettingsError, match=rf"sinks\.postgres\.caFile: .*{message}") as error:
            conninfo_of(PostgresSink(dsn_file=str(secret), ca_file=str(path)), "test")
        assert "hush" not in str(error.value)
        with pytest.raises(SettingsError, match=rf"sinks\.elasticsearch\.caFile: .*{message}"):
            connect(ElasticsearchSink("https://x:1", ca_file=str(path)))


@pytest.mark.parametrize(
    "text", ["postgres//u:hush@db/x", "host=db password='hush", "hush", "postgresql://u:hush@[db/x"]
)
def test_a_dsn_that_is_none_is_not_quoted(text, tmp_path):
    secret = tmp_path / "dsn"
    secret.write_text(text)
    with pytest.raises(SettingsError, match="not a PostgreSQL connection string") as error:
        conninfo_of(PostgresSink(dsn_file=str(secret)), "test")
    assert "hush" not in str(error.value)
    assert error.value.__cause__ is None


def test_elasticsearch_credentials_come_from_files_only(tmp_path):
    for name, text in (("user", "u\n"), ("password", "hush\n"), ("key", "hush==\n")):
        (tmp_path / name).write_text(text)
    user, password, key = (str(tmp_path / name) for name in ("user", "password", "key"))
    basic = connect(ElasticsearchSink("http://x:1", username_file=user, password_file=password))
    assert basic._headers["authorization"].startswith("Basic ")
    assert connect(ElasticsearchSink("http://x:1", api_key_file=key))._headers["authorization"] == "ApiKey hush=="
    for wrong in (
        ElasticsearchSink("http://u:hush@x:1"),
        ElasticsearchSink("http://x:1", username_file=user),
        ElasticsearchSink("http://x:1", api_key_file=str(tmp_path / "absent")),
        ElasticsearchSink("x"),
        ElasticsearchSink("https://x:1", ca_file=str(tmp_path / "absent.pem")),
    ):
        with pytest.raises(SettingsError) as error:
            connect(wrong)
        assert "hush" not in str(error.value)


def test_making_a_sink_connects_to_nothing(document):
    pipeline = load_pipeline(
        Path(document(postgres={"dsn": "postgresql://u@127.0.0.1:9/x"}, elasticsearch={"url": "http://127.0.0.1:9"}))
    )
    for store in ("postgres", "elasticsearch"):
        sink = make_sink(store, pipeline)
        assert sink.name == store
        sink.close()
