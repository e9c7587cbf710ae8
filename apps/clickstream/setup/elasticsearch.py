"""The jobs of `clickstream setup` in Elasticsearch."""

from __future__ import annotations

from collections.abc import Callable

from elastic_transport import TransportError
from elasticsearch import ApiError

from clickstream.contracts.pipeline import Pipeline
from clickstream.setup.exit_codes import ExitCode, NotYetError, SetupError
from clickstream.sinks.elasticsearch.client import connect, trouble
from clickstream.sinks.elasticsearch.installation import drop, install
from clickstream.sinks.elasticsearch.product import unsupported
from clickstream.sinks.elasticsearch.retention import apply_retention


def run(pipeline: Pipeline, job: str, progress: Callable[[str], None]) -> None:
    """Do the job once. Raises NotYetError, SetupError, SettingsError."""
    spec = pipeline.sinks.elasticsearch
    assert spec is not None
    names = pipeline.names
    client = connect(spec)
    try:
        if (why := unsupported(client)) is not None:
            raise SetupError(why, ExitCode.REFUSED)
        if job == "drop":
            drop(client, names, progress)
            return
        if job == "install":
            install(client, names, spec, progress)
        dropped = apply_retention(client, names, spec.retention)
        progress(f"retention of {spec.retention} is applied, {dropped} indices dropped")
    except (ApiError, TransportError) as error:
        why = trouble(error)
        if why is not None:
            raise NotYetError(why) from error
        raise SetupError(str(error), ExitCode.REFUSED) from error
    finally:
        client.close()
