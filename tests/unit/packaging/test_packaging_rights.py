"""The documented ACLs are those that the processes ask for, of the pipelines in full.yaml."""

from __future__ import annotations

import pytest
import yaml

from clickstream.contracts.kafka_rights import PROCESSES, rights_of
from clickstream.contracts.names import Names
from clickstream.contracts.pipeline import parse_pipeline
from generate import ROOT
from support.rights import KAFKA_USERS, documented

DOCUMENT = b"""{"namespace": "web", "name": "shop", "kafka": {"bootstrapServers": "a:1"},
 "enricher": {"joins": [{"name": "product", "topic": "web.catalogue", "page": "/products/{key}"}]}}"""
RIGHTS = documented()


@pytest.mark.parametrize("process", PROCESSES)
def test_the_example_says_what_the_process_asks_for(process):
    asked = {(one.kind, one.name, "prefix" if one.prefix else "literal", one.operation)
             for one in rights_of(process, parse_pipeline(DOCUMENT))}  # fmt: skip
    said = {(one.kind, one.name, one.pattern, one.operation) for one in RIGHTS[f"shop-{process}"]}
    assert said == asked


def test_the_pipelines_own_user_has_what_its_processes_need_and_no_more():
    apart = {"shop-setup", "shop-drop", "clickstream"}
    processes = {right for name, rights in RIGHTS.items() if name not in apart for right in rights}
    assert set(RIGHTS["clickstream"]) == processes
    assert RIGHTS.keys() - apart == {f"shop-{process}" for process in PROCESSES} - apart


def test_it_is_the_user_that_the_full_example_names():
    pipeline = next(yaml.safe_load_all((ROOT / "manifests" / "examples" / "full.yaml").read_text()))
    assert pipeline["spec"]["kafka"]["authentication"]["username"] in RIGHTS
    names = Names(pipeline["metadata"]["namespace"], pipeline["metadata"]["name"])
    joined = {join["topic"] for join in pipeline["spec"]["enricher"]["joins"]}
    for right in (right for rights in RIGHTS.values() for right in rights):
        assert right.name in joined or right.name.startswith(f"{names.prefix}.")


def test_each_user_is_one_that_strimzi_takes():
    for one in filter(None, yaml.safe_load_all(KAFKA_USERS.read_text())):
        assert (one["apiVersion"], one["kind"]) == ("kafka.strimzi.io/v1", "KafkaUser")
        assert one["spec"]["authentication"] == {"type": "scram-sha-512"}
        assert one["spec"]["authorization"]["type"] == "simple"
        assert one["metadata"]["labels"] == {"strimzi.io/cluster": "my-cluster"}
