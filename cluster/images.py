"""Container images by docker; for the bare cluster without an engine or a registry, by buildah on a base made here.

The project's own Dockerfiles are what runs in the cluster, on a machine that can pull no image. The base stands in for
`python:3.12-slim`: Debian's minimal system and, below /usr/local, a CPython of this machine. Nothing else of the
machine gets into an image: its certificates and its settings for pip, uv and npm are mounted while building, over empty
files that the base brings.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import choice
from cluster.build import binary, cache_folder, report, require, run
from devstack import cache
from devstack.errors import MissingToolError

PAUSE = "localhost/clickstream-e2e/pause:1"
BASE = "docker.io/library/python:3.12-slim"
COMMANDS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
PYTHONS = ("3.12", "3.13", "3.11")
BASE_PACKAGES = (
    "ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,"
    "libncursesw6,libuuid1,libexpat1"
)
BASE_DOCKERFILE = """\
FROM scratch
ADD system.tar /
COPY local /usr/local
RUN ldconfig && mkdir -p /etc/uv && touch /etc/pip.conf /etc/uv/uv.toml /etc/npmrc && \\
    python3 -c 'import bz2, ctypes, hashlib, lzma, sqlite3, ssl, uuid, zlib' && pip --version
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""
PAUSE_DOCKERFILE = 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'
LEFT_OUT = (
    "__pycache__",
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "config-*",
    "site-packages",
    "_tkinter*",
    "lib2to3",
)
PIP = "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"


def full_name(name: str) -> str:
    """Write a name as Kubernetes understands it: `x:1` is docker.io/library/x:1."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if {".", ":"} & set(first) or first == "localhost" else f"docker.io/{name}"


def buildah(*arguments: str | Path) -> str:
    """Run buildah on the project's own storage, in mount namespaces, since it would leave mounts behind."""
    require(COMMANDS)
    storage = cache_folder() / "buildah"
    where = (f"--root={storage / 'root'}", f"--runroot={storage / 'run'}", "--storage-driver=overlay")
    return run(["unshare", "--mount", "buildah", *where, *arguments])


def build(folder: Path, name: str, *arguments: str | Path) -> None:
    """Build a Dockerfile (default: the folder's) into the storage; `arguments` are the engine's, such as -f."""
    report(f"building the image {name}")
    if choice.docker_builds():
        # kind imports with `ctr`, which fails on attestations.
        plain = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        run(["docker", "build", "--quiet", "--tag", full_name(name), *arguments, folder], env=plain)
        return
    _import_base()
    with _machine_settings() as volumes:
        apart = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers"]
        buildah("build", "--quiet", *apart, *volumes, "--tag", full_name(name), *arguments, folder)


def save(name: str, archive: Path) -> Path:
    """Write an image that was built here as a docker-archive."""
    if choice.docker_builds():
        run(["docker", "save", "--output", archive, full_name(name)])
    else:
        _push(name, archive)
    return archive


def push(name: str, reference: str) -> None:
    """Push an image that buildah has built to a registry without TLS, as host:port/path:tag."""
    buildah("push", "--quiet", "--tls-verify=false", full_name(name), f"docker://{reference}")


def pause() -> Path:
    """Return the archive of the image that every pod starts with."""
    program = binary("pause")

    def make(draft: Path) -> None:
        (draft / "Dockerfile").write_text(PAUSE_DOCKERFILE, encoding="utf-8")
        shutil.copy(program, draft / "pause")
        buildah("build", "--quiet", "--isolation", "chroot", "--tag", PAUSE, draft)
        _push(PAUSE, draft / "image.tar")

    return cache.entry(cache_folder(), f"image-{program.parent.name}", make) / "image.tar"


def base() -> Path:
    """Return the archive of the base image (one to two minutes, once). Raises MissingToolError without a CPython."""
    version, prefix = find_python()
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    key = cache.digest(version, str(prefix), suite, BASE_PACKAGES, BASE_DOCKERFILE, repr(LEFT_OUT))

    def make(draft: Path) -> None:
        require(COMMANDS)
        report(f"making the base image: {suite} and the Python of {prefix} (once)")
        without = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "doc", "locale")]
        how = ["--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}", "--format=tar", *without]
        run(["mmdebstrap", *how, suite, draft / "system.tar"])
        _copy_python(version, prefix, draft / "local")
        (draft / "Dockerfile").write_text(BASE_DOCKERFILE, encoding="utf-8")
        buildah("build", "--quiet", "--isolation", "chroot", "--tag", BASE, draft)
        _push(BASE, draft / "image.tar")
        (draft / "system.tar").unlink()
        shutil.rmtree(draft / "local")

    return cache.entry(cache_folder(), f"base-{version}-{key}", make) / "image.tar"


def find_python() -> tuple[str, Path]:
    """Find the version (such as 3.12) and prefix of a relocatable CPython: not the system's own."""
    chosen = os.environ.get("E2E_PYTHON")
    home = Path.home()
    prefixes = [Path(chosen)] if chosen else [Path(sys.base_prefix), Path("/usr/local")]
    if not chosen:
        prefixes += sorted((home / ".pyenv/versions").glob("3.1[123].*"), reverse=True)
        prefixes += sorted((home / ".local/share/uv/python").glob("cpython-3.1[123].*"), reverse=True)
    for version in PYTHONS:
        for prefix in prefixes:
            library = prefix / "lib" / f"python{version}"
            if (
                prefix != Path("/usr")
                and (library / "site-packages/pip").is_dir()
                and (prefix / f"bin/python{version}").exists()
            ):
                return version, prefix
    message = (
        "no CPython 3.11 to 3.13 for the base image in ~/.pyenv, uv's folder or /usr/local; E2E_PYTHON names its prefix"
    )
    raise MissingToolError(message)


def _push(name: str, archive: Path) -> None:
    buildah("push", "--quiet", full_name(name), f"docker-archive:{archive}:{full_name(name)}")


def _copy_python(version: str, prefix: Path, target: Path) -> None:
    library, packages = Path(f"lib/python{version}"), Path(f"lib/python{version}/site-packages")
    shutil.copytree(prefix / library, target / library, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for source in [*(prefix / packages).glob("pip"), *(prefix / packages).glob("pip-*.dist-info")]:
        shutil.copytree(source, target / packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for shared in (prefix / "lib").glob(f"libpython{version}.so*"):
        shutil.copy(shared, target / "lib", follow_symlinks=False)
    programs = target / "bin"
    programs.mkdir()
    shutil.copy(prefix / f"bin/python{version}", programs)
    for link in ("python3", "python"):
        (programs / link).symlink_to(f"python{version}")
    for name in ("pip", "pip3"):
        (programs / name).write_text(PIP, encoding="utf-8")
        (programs / name).chmod(0o755)


def _import_base() -> None:
    """Tag the present base in the storage."""
    archive = base()
    imported = cache_folder() / "buildah" / "base"
    if not imported.exists() or imported.read_text(encoding="ascii") != archive.parent.name:
        buildah("pull", "--quiet", f"docker-archive:{archive}")
        imported.write_text(archive.parent.name, encoding="ascii")


def _npm_settings() -> str:
    """What npm knows on this machine: its registry and who may ask it, and the machine's certificates."""
    known = ["cafile=/etc/ssl/certs/ca-certificates.crt"]
    if npm := shutil.which("npm"):
        for name in ("globalconfig", "userconfig"):
            file = Path(run([npm, "config", "get", name]).strip())
            known += [file.read_text(encoding="utf-8")] if file.is_file() else []
        known.append(f"registry={run([npm, 'config', 'get', 'registry']).strip()}")  # it may be in the environment
    return "\n".join(known) + "\n"


@contextmanager
def _machine_settings() -> Iterator[list[str]]:
    """Return the volumes that give programs in a build this machine's certificates and settings of pip, uv and npm."""
    with tempfile.TemporaryDirectory() as name:
        pip, uv = Path(name, "pip.conf"), Path(name, "uv.toml")
        settings: dict[str, str] = {}
        for line in run([sys.executable, "-m", "pip", "config", "list"]).splitlines():
            key, _, value = line.partition("=")
            settings.setdefault(key.rpartition(".")[2], value.strip("'"))  # ":env:" comes before "global"
        lines = ["[global]", *(f"{key} = {value}" for key, value in settings.items())]
        pip.write_text("\n".join(lines) + "\n", encoding="utf-8")
        folders = [each for value in settings.values() for each in value.split() if Path(each).is_dir()]
        own = next(
            (file for file in (Path.home() / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")) if file.exists()), None
        )
        uv.write_text(own.read_text(encoding="utf-8") if own else "native-tls = true\n", encoding="utf-8")
        npmrc = Path(name, "npmrc")
        npmrc.write_text(_npm_settings(), encoding="utf-8")
        mounts = {
            str(pip): "/etc/pip.conf",
            str(uv): "/etc/uv/uv.toml",
            str(npmrc): "/etc/npmrc",
            "/etc/ssl/certs": "/etc/ssl/certs",
        }
        mounts |= {folder: folder for folder in folders}
        yield [option for source, target in mounts.items() for option in ("--volume", f"{source}:{target}:ro")]
