"""The cluster's programs, built from Go modules once and cached, keyed by all that they are made from.

No image registry is needed, only the configured Go module proxy. The Kubernetes programs are one multi-call binary
(`go/kube`): linked one by one they would take nine times as long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack import cache
from devstack.errors import MissingToolError, StartError

KUBERNETES_VERSION = "1.34.4"
HELM_VERSION = "3.19.0"
SOURCES = Path(__file__).parent / "go"
FLAGS = {
    "CGO_ENABLED": "0",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath",
}
# The compiler collects garbage less often: a quarter less processor time for 300 MB more (k8s.io/api/core/v1).
LESS_OFTEN = {"GOGC": "400"}
KUBE_PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    *("coredns", "metrics-server"),
)


@dataclass(frozen=True, slots=True)
class Module:
    """A folder below `go/`, the package in it that is built, and the variables that are set when it is linked."""

    package: str = "."
    variables: tuple[str, ...] = ()


def _kubernetes_version() -> tuple[str, ...]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"{package}.{name}={value}" for package in packages for name, value in values.items())


MODULES = {
    "kube": Module(variables=_kubernetes_version()),
    "policies": Module(),
    "pause": Module(),
    "kindconfig": Module(),
    "registry": Module(),
    "actionlint": Module("github.com/rhysd/actionlint/cmd/actionlint"),
    "kubeconform": Module("github.com/yannh/kubeconform/cmd/kubeconform"),
    "helm": Module("helm.sh/helm/v3/cmd/helm", (f"helm.sh/helm/v3/internal/version.version=v{HELM_VERSION}",)),
}


def cache_folder() -> Path:
    """Return the folder for what is built once: E2E_CACHE, else below XDG_CACHE_HOME, else below ~/.cache."""
    if chosen := os.environ.get("E2E_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "clickstream-e2e"


def report(message: str) -> None:
    """Print progress."""
    print(f"[cluster] {message}", file=sys.stderr, flush=True)


def binary(program: str) -> Path:
    """Return a program: one of KUBE_PROGRAMS or of MODULES. Builds it if need be (kube: 7 to 9 minutes, once)."""
    module = "kube" if program in KUBE_PROGRAMS else program
    go = shutil.which("go")
    if go is None:
        message = "Go 1.24 or newer (go) is not on the PATH; the cluster's programs are built with it"
        raise MissingToolError(message)
    folder, spec = SOURCES / module, MODULES[module]
    version = run([go, "version"], cwd=folder, env=os.environ | FLAGS)
    sources = [path for path in sorted(folder.iterdir()) if path.suffix in {".go", ".mod", ".sum"}]
    key = cache.digest(version, repr(spec), repr(FLAGS), *(path.read_bytes() for path in sources))

    def build(draft: Path) -> None:
        report(f"building {module} (once)" + (", which takes up to ten minutes" if module == "kube" else ""))
        linker = " ".join(["-s -w", *(f"-X {each}" for each in spec.variables)])
        output: list[str | Path] = ["-o", draft / module]
        settings = LESS_OFTEN | os.environ | FLAGS
        run([go, "build", "-ldflags", linker, *output, spec.package], cwd=folder, env=settings)
        for name in KUBE_PROGRAMS if module == "kube" else ():
            (draft / name).symlink_to(module)

    return (
        cache.entry(cache_folder(), f"{module}-{key}", build, lambda: report(f"waiting: {module} is being built"))
        / program
    )


def require(commands: dict[str, str]) -> None:
    """Install the Debian packages of the commands (or files) that are missing; {command: package}.

    Raises MissingToolError where that is not possible: not root, or no apt.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for command, package in commands.items() if shutil.which(command, path=path) is None})
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        message = f"not installed: {', '.join(missing)} (Debian's names); install them, or run this as root on Debian"
        raise MissingToolError(message)
    report(f"installing {', '.join(missing)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=quiet)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], env=quiet)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    text: str | None = None,
) -> str:
    """Run to the end, `text` being its input; return what it wrote. Raises StartError with the end of its errors."""
    done = subprocess.run(command, cwd=cwd, env=env, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shown = " ".join(str(each) for each in command[:6])
        message = f"{shown} … ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
        raise StartError(message)
    return done.stdout
