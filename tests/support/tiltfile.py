"""Runs the Tiltfile in a real Starlark interpreter, with stand-ins that write down what it asks Tilt for.

Tilt itself is in no registry that the project uses. Its language is Starlark, so syntax, names and values are checked
by a real interpreter; what each builtin would do follows from its recorded arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import starlark
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent

# Builtins that only register something, with the parameters that Tilt has for them (those that a call may leave out
# included).
PARAMETERS = {
    "allow_k8s_contexts": ("contexts",),
    "update_settings": ("max_parallel_updates", "k8s_upsert_timeout_secs", "suppress_unused_image_warnings"),
    "docker_build": (
        *(
            "ref",
            "context",
            "build_args",
            "dockerfile",
            "live_update",
            "match_in_env_vars",
            "ignore",
            "only",
            "entrypoint",
        ),
        *("target", "ssh", "network", "extra_tag", "container_args", "cache_from", "pull", "platform"),
    ),
    "k8s_kind": ("kind", "api_version", "image_json_path", "image_object", "pod_readiness"),
    "k8s_resource": (
        *("workload", "new_name", "port_forwards", "extra_pod_selectors", "trigger_mode", "resource_deps", "objects"),
        *("auto_init", "pod_readiness", "links", "labels", "discovery_strategy"),
    ),
    "local_resource": (
        *(
            "name",
            "cmd",
            "deps",
            "trigger_mode",
            "resource_deps",
            "ignore",
            "auto_init",
            "serve_cmd",
            "readiness_probe",
        ),
        *("allow_parallel", "links", "labels", "env", "serve_env", "dir", "serve_dir"),
    ),
    "cmd_button": ("name", "resource", "argv", "text", "location", "icon_name", "icon_svg", "inputs"),
}
# Builtins whose value is handed to others.
VALUES = {
    "sync": ("local_path", "remote_path"),
    "link": ("url", "name"),
    "port_forward": ("local_port", "container_port", "name", "link_path", "host"),
    "text_input": ("name", "label", "default", "placeholder"),
}


@dataclass
class Asked:
    """What a Tiltfile asked for: `calls` by builtin, in order, and the Kubernetes resources."""

    calls: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in PARAMETERS})
    resources: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def run_tiltfile(path: Path = ROOT / "Tiltfile") -> Asked:
    """Run it.

    Raises starlark.StarlarkError for what is wrong in it, and TypeError for a parameter that Tilt does not have.
    """
    asked = Asked()
    module = starlark.Module()
    for name in PARAMETERS:
        if name != "cmd_button":
            module.add_callable(name, _recorder(asked, name))
    for name in ("sync", "link", "port_forward"):
        module.add_callable(name, _named(name, VALUES[name]))
    module["TRIGGER_MODE_MANUAL"] = "manual"
    module["TRIGGER_MODE_AUTO"] = "auto"

    def read(file: str) -> str:
        asked.files.append(file)
        return (ROOT / file).read_text()

    def kustomize(folder: str) -> str:
        listed = yaml.safe_load(read(f"{folder}/kustomization.yaml"))["resources"]
        return "\n---\n".join(read(f"{folder}/{file}") for file in listed)

    def k8s_yaml(source: str) -> None:
        text = source if "\n" in source else read(source)
        asked.resources += [one for one in yaml.safe_load_all(text) if one]

    module.add_callable("kustomize", kustomize)
    module.add_callable("k8s_yaml", k8s_yaml)
    module.add_callable("read_yaml_stream", lambda file: list(yaml.safe_load_all(read(file))))
    module.add_callable("encode_yaml_stream", yaml.safe_dump_all)
    syntax = starlark.parse(path.name, path.read_text())
    starlark.eval(
        module, syntax, starlark.Globals.standard(), starlark.FileLoader(lambda name: _extension(asked, name))
    )
    return asked


def _extension(asked: Asked, name: str) -> starlark.FrozenModule:
    if name != "ext://uibutton":
        msg = f"no stand-in for {name}"
        raise FileNotFoundError(msg)
    module = starlark.Module()
    module.add_callable("cmd_button", _recorder(asked, "cmd_button"))
    module.add_callable("text_input", _named("text_input", VALUES["text_input"]))
    extended = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
    starlark.eval(module, starlark.parse(name, "location = struct(RESOURCE = 'resource', NAV = 'nav')"), extended)
    return module.freeze()


def _bound(name: str, parameters: tuple[str, ...], arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    unknown = named.keys() - set(parameters)
    if unknown or len(arguments) > len(parameters):
        msg = f"{name} has no parameter {', '.join(sorted(unknown)) or len(arguments)}"
        raise TypeError(msg)
    return dict(zip(parameters, arguments, strict=False)) | named


def _recorder(asked: Asked, name: str) -> Any:
    def record(*arguments: Any, **named: Any) -> None:
        asked.calls[name].append(_bound(name, PARAMETERS[name], arguments, named))

    return record


def _named(name: str, parameters: tuple[str, ...]) -> Any:
    def value(*arguments: Any, **named: Any) -> dict[str, Any]:
        return _bound(name, parameters, arguments, named)

    return value
