"""The isolation levels of the sandbox, and how a process of each level is started."""

from __future__ import annotations

import enum
import marshal
import os
import shutil
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

WORK = "/work"
"""The candidate's working folder, at the levels that give it a separate file system."""

WORK_BYTES = 16 * 2**20
_NOBODY = 65534
_PACKAGE = "axolotl_dmt.sandbox"
_MODULES = ("codec", "confine", "remote", "seccomp", "inside")

# Loads the modules in the first message on stdin and runs `main` of the last one, so that no file
# of this package has to be visible inside the sandbox.
_BOOT = """
import marshal, os, sys
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data
package = None
for name, code in marshal.loads(read(int.from_bytes(read(4), "little"))):
    module = type(sys)(name)
    sys.modules[name] = module
    if package:
        setattr(package, name.rpartition(".")[2], module)
    else:
        package = module
    exec(code, module.__dict__)
module.main()
"""


class Level(enum.Enum):
    """How a running program is isolated; the first level is the strongest."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    RLIMITS = "rlimits"

    @property
    def safe(self) -> bool:
        """Whether the program is cut off from the host's files, network and processes."""
        return self is not Level.RLIMITS


@cache
def boot_message() -> bytes:
    """Return the compiled modules that run inside a sandbox, which uses this same Python."""
    # Without `dont_inherit` the modules, and then the programs, would inherit this file's
    # `from __future__ import annotations`.
    code: list[tuple[str, Any]] = [(_PACKAGE, compile("", _PACKAGE, "exec", dont_inherit=True))]
    for name in _MODULES:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        compiled = compile(source, f"<{name}>", "exec", dont_inherit=True)
        code.append((f"{_PACKAGE}.{name}", compiled))
    return marshal.dumps(code)


@cache
def interpreter() -> str:
    """Return the path of this Python interpreter outside its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@cache
def visible_paths() -> tuple[str, ...]:
    """Return the paths that Python needs: itself, its library and the system's shared libraries."""
    candidates = [
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/etc/ld.so.cache",
        interpreter(),
        os.path.join(sys.base_prefix, "lib"),
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
    ]
    if interpreter().startswith("/nix/store/"):
        candidates.append("/nix/store")
    paths: list[str] = []
    for path in candidates:
        covered = any(path == other or path.startswith(other + "/") for other in paths)
        if os.path.exists(path) and not covered:
            paths.append(path)
    return tuple(paths)


@cache
def unprivileged_uid() -> int | None:
    """Return the user id that root switches to, or None if the process keeps its user.

    A process keeps its user if it is not root, or if it is root in a user namespace (a rootless
    container, for example) that maps no other user: to the kernel it is then an ordinary user.
    """
    if os.geteuid() != 0:
        return None
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
    except OSError:  # not Linux
        return _NOBODY
    ranges = zip(mapped[0::3], mapped[2::3], strict=True)
    is_mapped = any(int(start) <= _NOBODY < int(start) + int(size) for start, size in ranges)
    return _NOBODY if is_mapped else None


def command(level: Level) -> list[str]:
    """Return the command that starts a sandbox, which then reads its messages from stdin.

    Raises:
        OSError: If the level's program is not installed.
    """
    # As isolated as with -I, except that PYTHONHASHSEED is respected.
    python = [interpreter(), "-S", "-s", "-B", "-X", "utf8", "-c", _BOOT]
    if level is not Level.BUBBLEWRAP:
        return python
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise FileNotFoundError("bwrap is not installed")
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    # Without --as-pid-1 bubblewrap leaves its first process as a zombie for the system to reap.
    options += ["--die-with-parent", "--as-pid-1"]
    if unprivileged_uid() is not None:
        # Root needs no user namespace, and could not switch to another user inside one.
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user"]
    # bubblewrap creates parent folders that only its own user may enter; root switches to another.
    parents = {str(parent) for path in visible_paths() for parent in Path(path).parents}
    for folder in sorted(parents - {"/"}):
        options += ["--perms", "0755", "--dir", folder]
    for path in visible_paths():
        options += ["--ro-bind", path, path]
    options += ["--dev", "/dev", "--perms", "0777", "--size", str(WORK_BYTES), "--tmpfs", WORK]
    options += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", WORK]
    return [bubblewrap, *options, "--", *python]


def environment() -> dict[str, str]:
    """Return the environment variables of a program: these and no others."""
    # A fixed hash seed gives sets the same order, so that a program behaves the same in each run.
    return {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}


def settings(
    level: Level,
    *,
    timeout: float,
    wall_timeout: float,
    memory_mb: int,
    file_mb: int,
    mount_point: str,
) -> dict[str, Any]:
    """Return the settings that `inside.main` reads as its first message."""
    return {
        "namespaces": level is Level.NAMESPACES,
        "paths": list(visible_paths()),
        "mount_point": mount_point,
        "work": WORK,
        "work_bytes": WORK_BYTES,
        "uid": unprivileged_uid(),
        "timeout": float(timeout),
        "wall_timeout": float(wall_timeout),
        "memory_bytes": memory_mb * 2**20,
        "file_bytes": file_mb * 2**20,
        "cpu_seconds": int(timeout) + 2,
    }
