"""What the operator may do, and what the users of a namespace may do with pipelines."""

from __future__ import annotations

from clickstream_operator.cluster import KINDS, LISTED
from support.resources import of_kind, one_of_kind

CHANGE = {"get", "list", "watch", "create", "patch", "delete"}
PIPELINES = {
    ("clickstream.dev", "clickstreampipelines"): {"get", "list", "watch", "patch"},
    ("clickstream.dev", "clickstreampipelines/status"): {"patch"},
    ("clickstream.dev", "clickstreampipelines/finalizers"): {"update"},
    ("apps", "deployments"): CHANGE,
    ("autoscaling", "horizontalpodautoscalers"): CHANGE,
    ("keda.sh", "scaledobjects"): CHANGE,
    ("policy", "poddisruptionbudgets"): CHANGE,
    ("batch", "jobs"): CHANGE,
    ("networking.k8s.io", "ingresses"): CHANGE,
    ("networking.k8s.io", "networkpolicies"): CHANGE,
    ("gateway.networking.k8s.io", "httproutes"): CHANGE,
    ("", "configmaps"): CHANGE,
    ("", "services"): CHANGE,
    ("", "serviceaccounts"): CHANGE,
    ("", "secrets"): {"get", "create", "patch", "delete"},
    ("", "pods"): {"get", "list"},
    ("", "events"): {"create", "patch"},
}
TOPICS = {("kafka.strimzi.io", "kafkatopics"): CHANGE}
LEASE = {
    ("coordination.k8s.io", "leases"): {"create"},  # which cannot be granted by name
    ("coordination.k8s.io", "leases", "clickstream-operator"): {"get", "patch"},
}
DEFINITIONS = {("apiextensions.k8s.io", "customresourcedefinitions"): {"get", "list", "watch"}}
NAMESPACED = {"watchNamespaces": ["shop", "blog"], "kafkaNamespaces": ["kafka", "shop"]}


def granted(role):
    rights = {}
    for rule in role["rules"]:
        assert rule.keys() - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                named = tuple(rule.get("resourceNames", ()))
                assert (group, resource, *named) not in rights
                rights[(group, resource, *named)] = set(rule["verbs"])
    return rights


def of_operator(resources):
    return [role for role in of_kind(resources, "ClusterRole") if "-pipelines-" not in role["metadata"]["name"]]


def test_cluster_wide_it_has_exactly_the_rights_that_it_needs(render):
    resources = render()
    (role,) = of_operator(resources)
    assert granted(role) == PIPELINES | TOPICS | DEFINITIONS
    binding = one_of_kind(resources, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "clickstream-operator", "namespace": "platform"}]
    (leader,) = of_kind(resources, "Role")
    assert (leader["metadata"]["namespace"], granted(leader)) == ("platform", LEASE)
    bound = one_of_kind(resources, "RoleBinding")
    assert bound["roleRef"]["name"] == leader["metadata"]["name"]
    assert bound["subjects"] == binding["subjects"]


def test_namespaced_it_has_rights_in_those_namespaces_only(render):
    resources = render(NAMESPACED)
    assert of_operator(resources) == []
    assert of_kind(resources, "ClusterRoleBinding") == []
    roles = {role["metadata"]["namespace"]: granted(role) for role in of_kind(resources, "Role")}
    assert roles == {"shop": PIPELINES | TOPICS, "blog": PIPELINES | TOPICS, "kafka": TOPICS, "platform": LEASE}
    bound = {binding["metadata"]["namespace"]: binding for binding in of_kind(resources, "RoleBinding")}
    assert bound.keys() == roles.keys()
    for binding in bound.values():
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "clickstream-operator", "namespace": "platform"}
        ]


def test_nobody_gets_a_wildcard_or_may_list_secrets(render):
    for values in ({}, NAMESPACED):
        for role in (*of_kind(render(values), "ClusterRole"), *of_kind(render(values), "Role")):
            for (group, resource, *_), verbs in granted(role).items():
                assert not {group, resource, *verbs} & {"*"}
                if resource == "secrets":
                    assert not verbs & {"list", "watch", "update", "deletecollection"}


def test_users_of_a_namespace_may_manage_or_see_its_pipelines(render):
    users = {
        role["metadata"]["name"]: role for role in of_kind(render(), "ClusterRole") if role not in of_operator(render())
    }
    edit, view = users["clickstream-operator-pipelines-edit"], users["clickstream-operator-pipelines-view"]
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key.removeprefix(aggregate) for key in edit["metadata"]["labels"] if key.startswith(aggregate)} == {
        "admin",
        "edit",
    }
    assert {key.removeprefix(aggregate) for key in view["metadata"]["labels"] if key.startswith(aggregate)} == {"view"}
    assert {"create", "update", "patch", "delete"} <= granted(edit)["clickstream.dev", "clickstreampipelines"]
    assert granted(view)["clickstream.dev", "clickstreampipelines"] == {"get", "list", "watch"}
    assert all(group == "clickstream.dev" for group, *_ in (*granted(edit), *granted(view)))


def test_rights_can_be_left_to_somebody_else(render):
    resources = render(
        {"rbac": {"create": False, "aggregate": False}, "serviceAccount": {"create": False, "name": "mine"}}
    )
    assert not {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"} & {
        one["kind"] for one in resources
    }
    assert one_of_kind(resources, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_rights_are_on_all_that_the_operator_handles():
    rights = PIPELINES | TOPICS
    for name, kind in KINDS.items():
        group = kind.api.removeprefix("/apis/").rpartition("/")[0] if kind.api.startswith("/apis/") else ""
        verbs = rights.get((group, kind.plural)) or LEASE[group, kind.plural, "clickstream-operator"]
        assert {"get"} <= verbs
        if name in LISTED:
            assert verbs == CHANGE
