"""Which cluster the end-to-end tests run on, and so which engine builds its images."""

from __future__ import annotations

import os
import shutil
import subprocess

from devstack.errors import DevstackError, MissingToolError


def cluster() -> str:
    """Return `existing`, `kind` or `bare`. Raises DevstackError where E2E_CLUSTER names an unavailable one."""
    match os.environ.get("E2E_CLUSTER", ""):
        case "bare":
            return "bare"
        case "kind":
            if not _kind_works():
                message = "E2E_CLUSTER=kind needs a Docker engine that answers (docker info), and kind on the PATH"
                raise MissingToolError(message)
            return "kind"
        case "":
            if os.environ.get("KUBECONFIG") and os.environ.get("E2E_IMAGE_LOADER"):
                return "existing"
            return "kind" if _kind_works() else "bare"
        case other:
            message = f"E2E_CLUSTER={other} is neither kind nor bare"
            raise DevstackError(message)


def docker_builds() -> bool:
    """Whether docker builds the images; otherwise buildah does."""
    return cluster() != "bare" and _docker_answers()


def _kind_works() -> bool:
    return shutil.which("kind") is not None and _docker_answers()


def _docker_answers() -> bool:
    """Whether there is an engine: its client alone is often installed without one."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
