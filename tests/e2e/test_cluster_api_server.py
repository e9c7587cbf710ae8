"""The API server that the operator's tests run against: a real one, with its controllers and its access control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import ApiServer
from devstack.errors import StartError
from support.objects import until_established
from support.waiting import until

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ponds.example.dev"},
    "spec": {
        "group": "example.dev",
        "names": {"kind": "Pond", "plural": "ponds"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"ducks": {"type": "integer", "minimum": 1}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "pond"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example.dev/web:1"}]},
        },
    },
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer.start(tmp_path_factory.mktemp("api"), audit=True) as server:
        server.kubectl("create", "namespace", "pond")
        until(
            lambda: "default" in server.kubectl("get", "serviceaccounts", "-n", "pond", "-o", "name"),
            "a default account",
        )
        yield server


def apply(api: ApiServer, *resources: dict[str, Any]) -> None:
    api.kubectl("apply", "--server-side", "-f", "-", text="\n---\n".join(json.dumps(each) for each in resources))


def names(api: ApiServer, kind: str, *selection: str) -> list[str]:
    return api.kubectl("get", kind, "-n", "pond", "-o", "name", *selection).split()


def test_it_is_the_kubernetes_version_that_the_project_is_made_for(api: ApiServer) -> None:
    assert json.loads(api.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == "v1.34.4"


def test_a_custom_resource_is_checked_against_its_schema(api: ApiServer) -> None:
    apply(api, CRD)
    until_established(api.kubectl, "ponds.example.dev")
    pond = {"apiVersion": "example.dev/v1", "kind": "Pond", "metadata": {"name": "big", "namespace": "pond"}}
    with pytest.raises(StartError, match="should be greater than or equal to 1"):
        apply(api, pond | {"spec": {"ducks": 0}})
    apply(api, pond | {"spec": {"ducks": 2}})
    assert names(api, "ponds") == ["pond.example.dev/big"]


def test_a_deployment_gets_its_replica_set_and_pods_and_all_are_collected_with_it(api: ApiServer) -> None:
    apply(api, DEPLOYMENT)
    until(lambda: len(names(api, "pods", "-l", "app=web")) == 2, "two pods of the deployment")
    assert len(names(api, "replicasets", "-l", "app=web")) == 1
    api.kubectl("delete", "deployment", "web", "-n", "pond")
    until(lambda: not names(api, "replicasets", "-l", "app=web"), "the replica set is collected")
    # No kubelet confirms the end of a pod that was never scheduled anywhere; none is needed.
    until(lambda: not names(api, "pods", "-l", "app=web"), "the pods are collected")


def test_a_service_account_has_the_rights_of_its_role_and_no_other(api: ApiServer) -> None:
    api.kubectl("create", "serviceaccount", "keeper", "-n", "pond")
    api.kubectl("create", "role", "keeper", "-n", "pond", "--verb=get,list,create", "--resource=configmaps")
    api.kubectl("create", "rolebinding", "keeper", "-n", "pond", "--role=keeper", "--serviceaccount=pond:keeper")
    own = f"--kubeconfig={api.service_account_kubeconfig('pond', 'keeper')}"
    api.kubectl(own, "create", "configmap", "fence", "-n", "pond")
    with pytest.raises(StartError, match="secrets is forbidden"):
        api.kubectl(own, "get", "secrets", "-n", "pond")
    with pytest.raises(StartError, match="is forbidden"):
        api.kubectl(own, "get", "configmaps", "-n", "default")
    wrote = [(event["verb"], event["objectRef"]["name"]) for event in api.writes("system:serviceaccount:pond:keeper")]
    assert wrote == [("create", "fence")]


def test_a_namespace_goes_with_all_that_is_in_it(api: ApiServer) -> None:
    api.kubectl("create", "namespace", "puddle")
    api.kubectl("create", "configmap", "frog", "-n", "puddle")
    api.kubectl("delete", "namespace", "puddle", "--timeout=60s")
    assert "puddle" not in api.kubectl("get", "namespaces", "-o", "name")


def test_another_one_lives_beside_it_and_leaves_no_process_behind(api: ApiServer, tmp_path: Path) -> None:
    with ApiServer.start(tmp_path) as other:
        assert other.control_plane.url != api.control_plane.url
        assert "pond" not in other.kubectl("get", "namespaces", "-o", "name")
        running = other.control_plane.processes
        processes = [running.find(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager")]
        assert all(process and process.is_alive() for process in processes)
    assert not any(process and process.is_alive() for process in processes)
    assert "pond" in api.kubectl("get", "namespaces", "-o", "name")
