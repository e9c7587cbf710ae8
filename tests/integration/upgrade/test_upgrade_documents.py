"""Either release's operator writes documents that either release's processes read."""

from __future__ import annotations

import subprocess

import msgspec
import pytest

from clickstream.contracts.pipeline import parse_pipeline, read_pipeline
from support import golden
from support.releases import THIS, Release

WRITE = """
import sys, msgspec, yaml
from clickstream_operator.document import build_document
from clickstream_operator.spec import read_resource
pipeline = read_resource(yaml.safe_load(open(sys.argv[1])))
sys.stdout.buffer.write(msgspec.json.encode(build_document(pipeline.namespace, pipeline.name, pipeline.spec())))
"""
READ = """
import sys
from clickstream.contracts.pipeline import parse_pipeline
print(parse_pipeline(sys.argv[1].encode()).names.prefix)
"""


def run(release: Release, *arguments: str) -> str:
    done: subprocess.CompletedProcess[str] = release.python("-c", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


TOO_NEW = {"full": "limits"}
"""Cases that say what the release before does not know: its processes refuse the document, and name the field."""


@pytest.mark.parametrize("case", golden.cases())
def test_a_document_of_one_release_is_read_by_the_other(case: str, old: Release) -> None:
    resource = str(golden.FOLDER / case / "pipeline.yaml")
    newer = run(THIS, WRITE, resource)
    if case in TOO_NEW:
        refused = old.python("-c", READ, newer)
        assert f"unknown field `{TOO_NEW[case]}`" in refused.stderr
        return
    older = run(old, WRITE, resource)
    found, unknown = read_pipeline(older.encode())
    wanted = parse_pipeline(newer.encode())
    # The one default that is another than in the release before; a resource that was made then keeps it.
    gpc = found.tracking_api.privacy.respect_gpc
    privacy = msgspec.structs.replace(wanted.tracking_api.privacy, respect_gpc=gpc)
    api = msgspec.structs.replace(wanted.tracking_api, privacy=privacy)
    assert (found, unknown) == (msgspec.structs.replace(wanted, tracking_api=api), [])
    assert run(old, READ, newer).strip() == found.names.prefix
