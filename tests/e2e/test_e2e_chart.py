"""Installing on a real API server: admission, roles and the resource's own rules are the real ones; no pod ever runs
here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cluster import ApiServer
from devstack.errors import StartError
from e2e.dependencies.strimzi import definitions
from generate import CHART, ROOT
from support.objects import until_established
from support.waiting import until

MANIFESTS = ROOT / "manifests"
RELEASE = ("clickstream", str(CHART), "--namespace", "platform")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer.start(tmp_path_factory.mktemp("chart")) as server:
        for name in ("platform", "web"):
            server.kubectl("create", "namespace", name)
            server.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        for definition in definitions().glob("*.json"):
            server.kubectl("apply", "--server-side", "-f", str(definition))
        yield server


@pytest.fixture(scope="module")
def helm(api: ApiServer) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "helm"), *arguments]
        env = os.environ | {"KUBECONFIG": str(api.kubeconfig)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def installed(api: ApiServer, helm: Callable[..., str]) -> Iterator[None]:
    notes = helm("install", *RELEASE)
    assert "It runs the pipelines of the whole cluster." in notes
    until_established(api.kubectl, "clickstreampipelines.clickstream.dev")
    yield
    if "clickstream" in helm("list", "--namespace", "platform", "--short"):
        helm("uninstall", "clickstream", "--namespace", "platform")


def owners_of_pods(api: ApiServer, namespace: str) -> set[str]:
    listed = api.kubectl("get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].spec.containers[0].name}")
    return set(listed.split())


def may(api: ApiServer, user: str, namespace: str, verb: str, resource: str) -> bool:
    try:
        return api.kubectl("auth", "can-i", verb, resource, "-n", namespace, f"--as={user}").strip() == "yes"
    except StartError:  # kubectl says no by its exit status too
        return False


@pytest.mark.usefixtures("installed")
def test_the_operators_pod_is_admitted_where_the_restricted_standard_is_enforced(api):
    until(lambda: owners_of_pods(api, "platform") == {"operator"}, "the operator's pod is made")


@pytest.mark.usefixtures("installed")
def test_helms_test_pod_is_admitted_too(api, helm):
    hooks = helm("get", "hooks", "clickstream", "--namespace", "platform")
    api.kubectl("apply", "--dry-run=server", "-f", "-", text=hooks)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("example", ["minimal.yaml", "full.yaml"])
def test_the_api_server_takes_the_examples(api, example):
    resources = list(yaml.safe_load_all((MANIFESTS / "examples" / example).read_text()))
    for one in resources:
        one["metadata"]["namespace"] = "web"
    said = api.kubectl("apply", "--dry-run=server", "-f", "-", text=yaml.safe_dump_all(resources))
    assert said.count("created (server dry run)") == len(resources)
    assert "unknown field" not in said


def test_the_dependencies_are_admitted_where_the_restricted_standard_is_enforced(api):
    """With Strimzi's own definitions, and no field that the API server does not know."""
    listed = api.kubectl("apply", "--server-side", "--validate=strict", "-k", str(MANIFESTS / "dependencies"))
    assert {"kafka.kafka.strimzi.io/my-cluster", "kafkanodepool.kafka.strimzi.io/dual"} <= set(listed.split())
    wrong = (MANIFESTS / "dependencies" / "kafka.yaml").read_text().replace("kraftMetadata:", "kraftMetaData:")
    with pytest.raises(StartError, match="kraftMetaData: field not declared in schema"):
        api.kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", text=wrong)
    claims = ("get", "pvc", "-n", "clickstream", "-o", "name")
    until(lambda: len(api.kubectl(*claims).split()) == 2, "the stores' volumes are claimed")
    wanted = {"elasticsearch", "postgres", "grafana"}
    until(lambda: owners_of_pods(api, "clickstream") == wanted, "the pods of the dependencies are made")


@pytest.mark.usefixtures("installed")
def test_who_may_edit_a_namespace_may_manage_its_pipelines_and_who_may_view_it_may_see_them(api):
    for user, role in (("ada", "edit"), ("bob", "view")):
        api.kubectl("create", "rolebinding", user, "-n", "web", f"--clusterrole={role}", f"--user={user}")
    until(lambda: may(api, "ada", "web", "create", "clickstreampipelines"), "edit has got the rights")
    until(lambda: may(api, "bob", "web", "list", "clickstreampipelines"), "view has got the rights")
    assert may(api, "ada", "web", "delete", "clickstreampipelines")
    assert not may(api, "ada", "platform", "create", "clickstreampipelines")
    assert not may(api, "bob", "web", "create", "clickstreampipelines")


@pytest.mark.usefixtures("installed")
def test_the_operator_may_read_a_secret_and_never_list_them(api):
    operator = "system:serviceaccount:platform:clickstream-operator"
    assert may(api, operator, "web", "get", "secrets")
    assert not may(api, operator, "web", "list", "secrets")
    assert not may(api, operator, "web", "watch", "secrets")
    assert not may(api, operator, "web", "create", "rolebindings.rbac.authorization.k8s.io")
    assert not may(api, operator, "web", "create", "pods")


def test_an_operator_for_chosen_namespaces_has_rights_there_only(api, helm):
    namespaced = ("--set", "watchNamespaces={web}", "--set", "nameOverride=web-operator")
    shared = ("--set", "crds.install=false", "--set", "rbac.aggregate=false")
    helm("install", "second", str(CHART), "--namespace", "web", *namespaced, *shared)
    operator = "system:serviceaccount:web:web-operator"
    assert may(api, operator, "web", "patch", "deployments.apps")
    assert not may(api, operator, "platform", "get", "deployments.apps")
    assert not may(api, operator, "web", "list", "customresourcedefinitions.apiextensions.k8s.io")
    helm("uninstall", "second", "--namespace", "web")


@pytest.mark.usefixtures("installed")
def test_upgrading_changes_the_operator_and_mends_the_definition(api, helm):
    columns = "/spec/versions/0/additionalPrinterColumns"
    patch = f'[{{"op": "remove", "path": "{columns}"}}]'
    api.kubectl("patch", "crd", "clickstreampipelines.clickstream.dev", "--type=json", "-p", patch)
    helm("upgrade", *RELEASE, "--set", "operator.resyncSeconds=5")
    deployment = api.kubectl("get", "deployment", "clickstream-operator", "-n", "platform", "-o", "yaml")
    (container,) = yaml.safe_load(deployment)["spec"]["template"]["spec"]["containers"]
    assert {"name": "OPERATOR_RESYNC_SECONDS", "value": "5"} in container["env"]
    definition = yaml.safe_load(api.kubectl("get", "crd", "clickstreampipelines.clickstream.dev", "-o", "yaml"))
    assert definition["spec"]["versions"][0]["additionalPrinterColumns"]


@pytest.mark.usefixtures("installed")
def test_uninstalling_leaves_the_definition_and_every_pipeline(api, helm):
    api.kubectl("apply", "-n", "web", "-f", str(MANIFESTS / "examples" / "minimal.yaml"))
    helm("uninstall", "clickstream", "--namespace", "platform")
    assert "clickstream-operator" not in api.kubectl(
        "get", "deployments,clusterroles,serviceaccounts", "-A", "-o", "name"
    )
    assert "shop" in api.kubectl("get", "csp", "-n", "web", "-o", "name")
    # And it can come back: what it finds is its own.
    helm("install", *RELEASE)
    assert "shop" in api.kubectl("get", "csp", "-n", "web", "-o", "name")


def test_what_another_release_or_kubectl_has_made_can_be_taken_over(tmp_path):
    """Helm refuses what is not its release's: the definition that an uninstalled release left, or install.yaml's."""
    with ApiServer.start(tmp_path) as other:

        def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [str(Path(sys.executable).parent / "helm"), *arguments]
            env = os.environ | {"KUBECONFIG": str(other.kubeconfig)}
            return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

        def owner() -> str:
            path = "jsonpath={.metadata.annotations.meta\\.helm\\.sh/release-name}"
            return other.kubectl("get", "crd", "clickstreampipelines.clickstream.dev", "-o", path)

        other.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "install.yaml"))
        # A Deployment's selector has the release's name, and can never change: this name is install.yaml's.
        first = ("install", "clickstream", str(CHART), "--namespace", "clickstream-system")
        refused = helm(*first)
        assert refused.returncode != 0
        assert "invalid ownership metadata" in refused.stderr
        assert helm(*first, "--take-ownership").returncode == 0
        assert owner() == "clickstream"
        other.kubectl("create", "namespace", "web")
        other.kubectl("apply", "-n", "web", "-f", str(MANIFESTS / "examples" / "minimal.yaml"))
        assert helm("uninstall", "clickstream", "--namespace", "clickstream-system").returncode == 0

        second = ("install", "second", str(CHART), "--namespace", "elsewhere", "--create-namespace")
        refused = helm(*second)
        assert refused.returncode != 0
        assert "invalid ownership metadata" in refused.stderr
        assert helm(*second, "--take-ownership").returncode == 0
        assert owner() == "second"
        assert "shop" in other.kubectl("get", "csp", "-n", "web", "-o", "name")


def test_without_helm_one_file_installs_it(tmp_path):
    with ApiServer.start(tmp_path) as other:
        other.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "install.yaml"))
        until(lambda: owners_of_pods(other, "clickstream-system") == {"operator"}, "the operator's pod is made")
        until_established(other.kubectl, "clickstreampipelines.clickstream.dev")

        def explained() -> bool:
            try:
                return "Kafka" in other.kubectl("explain", "clickstreampipeline.spec.kafka")
            except StartError:  # discovery learns of a definition a moment after it is established
                return False

        until(explained, "kubectl explains the resource", 30)
