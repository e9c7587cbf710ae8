"""Installing, checking and removing what a pipeline has in Elasticsearch: its templates and its indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import ElasticsearchSink
from clickstream.sinks.elasticsearch.templates import TEMPLATE_VERSION, templates

_BLOCKED: Final = frozenset({"cluster_block_exception", "index_closed_exception"})


def install(client: Elasticsearch, names: Names, spec: ElasticsearchSink, progress: Callable[[str], None]) -> None:
    """Put the templates, and add new fields to existing indices.

    Repeating it, or running it twice at once, changes nothing. Templates of a newer release stay: after a rollback this
    release writes a part of their fields. Raises ApiError.
    """
    wanted = templates(names, spec)
    for name in wanted:
        there = _version(client, name)
        if there is not None and there > TEMPLATE_VERSION:
            progress(f"template {name} has version {there}, newer than this release's {TEMPLATE_VERSION}: all stay")
            return
    # First the indices: sinks of this release begin to write once they see the version of the templates.
    _extend(client, names, wanted, progress)
    for name, body in wanted.items():
        client.indices.put_index_template(name=name, body=body)
        progress(f"template {name} version {TEMPLATE_VERSION} is installed")
    # A sink of the previous release may have created an index meanwhile.
    _extend(client, names, wanted, progress)


def _extend(
    client: Elasticsearch, names: Names, wanted: dict[str, dict[str, Any]], progress: Callable[[str], None]
) -> None:
    """Add to every index of the pipeline the new fields of its template: mappings are strict."""
    for index in indices_of(client, names):
        name = next(name for name in wanted if index.startswith(f"{name}."))
        fields: dict[str, Any] = wanted[name]["template"]["mappings"]["properties"]
        there = client.options(ignore_status=404).indices.get_mapping(index=index, expand_wildcards="all").body
        if index not in there:
            continue  # dropped meanwhile
        known = there[index]["mappings"].get("properties", {})
        new = {field: how for field, how in fields.items() if field not in known}
        if not new:
            continue
        try:
            client.indices.put_mapping(index=index, properties=new)
        except NotFoundError:
            continue
        except ApiError as error:
            if error.message not in _BLOCKED:
                raise
            # One index that is closed or read-only must not keep all others from being written.
            progress(
                f"index {index} does not get the new fields {', '.join(sorted(new))} ({error.message}); its records "
                "wait until it has them: "
                "make it writable and run setup again"
            )
        else:
            progress(f"index {index} has the new fields {', '.join(sorted(new))}")


def missing(client: Elasticsearch, names: Names) -> str | None:
    """What keeps a sink from writing, for the log; None when the templates are there (a newer version is fine)."""
    for name in (names.clicks_alias, names.sessions_alias):
        version = _version(client, name)
        if version is None or version < TEMPLATE_VERSION:
            have = "is not installed" if version is None else f"has version {version}"
            return (
                f"index template {name} {have}, version {TEMPLATE_VERSION} is needed: run `clickstream setup "
                "elasticsearch`"
            )
    return None


def drop(client: Elasticsearch, names: Names, progress: Callable[[str], None]) -> None:
    """Delete the pipeline's templates and every index of it."""
    for name in (names.clicks_alias, names.sessions_alias):
        client.options(ignore_status=404).indices.delete_index_template(name=name)
        progress(f"template {name} is gone")
    for index in indices_of(client, names):
        client.indices.delete(index=index, ignore_unavailable=True)
        progress(f"index {index} is gone")


def indices_of(client: Elasticsearch, names: Names) -> list[str]:
    """Every index of the pipeline, by name."""
    patterns = [f"{names.clicks_alias}.*", f"{names.sessions_alias}.*"]
    found = client.indices.get_settings(index=patterns, name="index.uuid", expand_wildcards="all")
    return sorted(found)


def _version(client: Elasticsearch, name: str) -> int | None:
    answer = client.options(ignore_status=404).indices.get_index_template(name=name)
    found = answer.body.get("index_templates", [])
    return int(found[0]["index_template"].get("version", 0)) if found else None
