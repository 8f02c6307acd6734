"""How strong a sandbox this machine allows, and how a process of each level is started."""

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
"""The candidate's folder, where it has a file system of its own."""

WORK_BYTES = 16 * 2**20
_NOBODY = 65534
_PACKAGE = "axolotl_dmt.sandbox"
_MODULES = ("codec", "confine", "inside")

# Loads the modules that the first messages on stdin hold, so that nothing of this package has to be
# visible in the sandbox, and starts the last of them.
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
    """What holds a program that runs; the first is the strongest."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    RLIMITS = "rlimits"

    @property
    def safe(self) -> bool:
        """Whether the host's files, network and processes are out of the program's reach."""
        return self is not Level.RLIMITS


@cache
def boot_message() -> bytes:
    """The modules that run inside, compiled; sandboxes run the same Python."""
    code: list[tuple[str, Any]] = [(_PACKAGE, compile("", _PACKAGE, "exec"))]
    for name in _MODULES:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        code.append((f"{_PACKAGE}.{name}", compile(source, f"<{name}>", "exec")))
    return marshal.dumps(code)


@cache
def interpreter() -> str:
    """The Python that runs this one, outside its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@cache
def visible_paths() -> tuple[str, ...]:
    """What Python needs to run: itself, its library, and the system's shared libraries."""
    wanted = [
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
        wanted.append("/nix/store")
    kept: list[str] = []
    for path in wanted:
        inside = any(path == other or path.startswith(other + "/") for other in kept)
        if os.path.exists(path) and not inside:
            kept.append(path)
    return tuple(kept)


@cache
def unprivileged_uid() -> int | None:
    """The user that root becomes; None for others, and for a root that stands for another user.

    Such a root, as in a rootless container, is that user to the kernel, and may know of no other.
    """
    if os.geteuid() != 0:
        return None
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
    except OSError:  # not Linux
        return _NOBODY
    ranges = zip(mapped[0::3], mapped[2::3], strict=True)
    known = any(int(start) <= _NOBODY < int(start) + int(size) for start, size in ranges)
    return _NOBODY if known else None


def command(level: Level) -> list[str]:
    """The command line that starts the inside of a sandbox; it is then spoken to on stdin.

    Raises:
        OSError: the level's program is not installed.
    """
    # Isolated as with -I, except that PYTHONHASHSEED is heeded.
    python = [interpreter(), "-S", "-s", "-B", "-X", "utf8", "-c", _BOOT]
    if level is not Level.BUBBLEWRAP:
        return python
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise FileNotFoundError("bwrap is not installed")
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    # Otherwise it leaves its own first process to the system to bury.
    options += ["--die-with-parent", "--as-pid-1"]
    if unprivileged_uid() is not None:
        # Root needs no user namespace, and in one it could not become another user.
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user"]
    # bubblewrap makes missing folders for its own user only, which root will not be any more.
    parents = {str(parent) for path in visible_paths() for parent in Path(path).parents}
    for folder in sorted(parents - {"/"}):
        options += ["--perms", "0755", "--dir", folder]
    for path in visible_paths():
        options += ["--ro-bind", path, path]
    options += ["--dev", "/dev", "--perms", "0777", "--size", str(WORK_BYTES), "--tmpfs", WORK]
    options += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", WORK]
    return [bubblewrap, *options, "--", *python]


def environment() -> dict[str, str]:
    """All that a program finds in its environment."""
    # With a fixed seed, sets come in the same order and a program does the same in each run.
    return {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}


def settings(
    level: Level, *, timeout: float, memory_mb: int, file_mb: int, mount_point: str
) -> dict[str, Any]:
    """What `inside.main` is told first; see there."""
    return {
        "namespaces": level is Level.NAMESPACES,
        "paths": list(visible_paths()),
        "mount_point": mount_point,
        "work": WORK,
        "work_bytes": WORK_BYTES,
        "uid": unprivileged_uid(),
        "timeout": float(timeout),
        "memory_bytes": memory_mb * 2**20,
        "file_bytes": file_mb * 2**20,
        "cpu_seconds": int(timeout) + 2,
    }
