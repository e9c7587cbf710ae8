"""Wrong values are refused, and helm says which and why."""

from __future__ import annotations

import pytest

from support.resources import one_of_kind

WRONG = {
    "a typing error": ({"wachNamespaces": ["shop"]}, ("wachNamespaces",)),
    "a typing error deep inside": ({"metrics": {"rules": {"enable": True}}}, ("metrics", "rules", "enable")),
    "text for a list": ({"watchNamespaces": "shop"}, ("watchNamespaces", "array")),
    "a namespace that cannot be": ({"watchNamespaces": ["Shop_1"]}, ("watchNamespaces", "pattern")),
    "a namespace twice": ({"watchNamespaces": ["shop", "shop"]}, ("watchNamespaces",)),
    "a level that does not exist": ({"operator": {"logLevel": "LOUD"}}, ("operator", "logLevel", "DEBUG")),
    "no time between comparisons": ({"operator": {"resyncSeconds": 0}}, ("operator", "resyncSeconds", "1")),
    "half a digest": ({"image": {"digest": "sha256:abc"}}, ("image", "digest", "pattern")),
    "no repository": ({"appsImage": {"repository": ""}}, ("appsImage", "repository")),
    "root": ({"runAsUser": 0}, ("runAsUser",)),
    "a number as a label": ({"podLabels": {"a": 1}}, ("podLabels", "string")),
    "no port": ({"networkPolicy": {"apiServerPorts": []}}, ("networkPolicy", "apiServerPorts")),
    "text for yes": ({"crds": {"install": "yes"}}, ("crds", "install", "boolean")),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_refused_with_the_place_and_the_reason(refusal, case):
    values, words = WRONG[case]
    said = refusal(values)
    assert "values don't meet the specifications of the schema" in said
    for word in words:
        assert word in said


def test_the_platform_may_choose_the_user(render):
    pod = one_of_kind(render({"runAsUser": None}), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert told_to_the_operator(pod) == ""


def test_the_pipelines_pods_run_as_the_operators_user(render):
    for values, user in (({}, "10001"), ({"runAsUser": 5_000}, "5000")):
        pod = one_of_kind(render(values), "Deployment")["spec"]["template"]["spec"]
        assert str(pod["securityContext"]["runAsUser"]) == told_to_the_operator(pod) == user


def told_to_the_operator(pod):
    (container,) = pod["containers"]
    return next(one["value"] for one in container["env"] if one["name"] == "OPERATOR_RUN_AS_USER")
