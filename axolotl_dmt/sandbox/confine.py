"""Confine the current process before it runs untrusted code.

Linux system calls that Python does not expose are made through ctypes. On other systems only the
resource limits apply. The module is loaded inside the sandbox, so it imports almost nothing.
"""

import ctypes
import os
import resource
import struct
import sys
import time

LINUX = sys.platform == "linux"

# From <sys/mount.h>, <sched.h> and <sys/prctl.h>.
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SIGKILL = 9
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1

_SYS_LANDLOCK = {"create_ruleset": 444, "add_rule": 445, "restrict_self": 446}
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_LIBRARY = os.path.dirname(os.__file__)
"""The folder of Python's standard library."""
_library_descriptor = -1
"""A descriptor of that folder if only root may open its path, else -1."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> int:
    """Call a libc function and raise OSError if it returns -1."""
    result = int(getattr(_libc, name)(*args))
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}")
    return result


def prctl(option: int, *args: object) -> None:
    """Call prctl(2).

    Raises:
        OSError: If the call fails.
    """
    # prctl takes longs, and ctypes passes a bare int as 32 bits.
    longs = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    longs += [ctypes.c_ulong(0)] * (4 - len(longs))
    _call("prctl", option, *longs)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    if LINUX:
        prctl(_PR_SET_PDEATHSIG, _SIGKILL)


# Namespaces


def enter_namespaces(
    *, paths: list[str], mount_point: str, work: str, work_bytes: int, as_root: bool
) -> None:
    """Enter new namespaces without the host's processes, network and files.

    The function forks and returns in the child, which has process id 1 in the new namespace. The
    parent waits for the child and exits with its status. Root creates the namespaces directly (it
    drops its privileges later); other users create them through a user namespace.

    Args:
        paths: Files and folders that stay visible, read-only.
        mount_point: Any folder on which to build the new root; nothing is written to it.
        work: The only writable folder: new, empty and in memory. It becomes the current folder.
        work_bytes: The capacity of `work` in bytes.
        as_root: Whether the process is root and can create namespaces without a user namespace.

    Raises:
        OSError: If the kernel does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
    _call("unshare", flags if as_root else flags | _CLONE_NEWUSER)
    if not as_root:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    child = os.fork()
    if child:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    die_with_parent()
    _build_root(paths, mount_point, work, work_bytes)


def _build_root(paths: list[str], root: str, work: str, work_bytes: int) -> None:
    safe = _MS_NOSUID | _MS_NODEV
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", safe, "size=1m,mode=755")
    for path in [*paths, *_DEVICES]:
        if not os.path.exists(path):
            continue
        target = root + path
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_RDONLY))
        _mount(os.path.realpath(path), target, None, _MS_BIND | _MS_REC)
    os.makedirs(root + work)
    _set_read_only(root, recursive=True)
    _mount("tmpfs", root + work, "tmpfs", safe, f"size={work_bytes},mode=777")
    os.chdir(root)
    # Stack the new root on the old one at the same path, then detach the old one underneath.
    _call("syscall", _SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir(work)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    text = [None if item is None else os.fsencode(item) for item in (source, target, kind)]
    data = None if options is None else options.encode()
    _call("mount", *text, ctypes.c_ulong(flags), data)


def _set_read_only(path: str, *, recursive: bool) -> None:
    attributes = struct.pack("<4Q", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    _call(
        "syscall",
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE if recursive else 0,
        attributes,
        ctypes.c_size_t(len(attributes)),
    )


# File access


def landlock_version() -> int:
    """Return the Landlock version that the kernel supports; 0 if it supports none."""
    if not LINUX:
        return 0
    version = 1
    return max(
        0, int(_libc.syscall(_SYS_LANDLOCK["create_ruleset"], None, ctypes.c_size_t(0), version))
    )


def make_file_rules(paths: list[str]) -> int:
    """Create Landlock rules: read access to `paths`, write access to the current folder.

    All other files become inaccessible once `apply_file_rules` applies the rules. Namespaces hide
    other files too; at a level without namespaces only these rules do.

    Returns:
        A file descriptor for `apply_file_rules`; -1 if the kernel does not support Landlock.

    Raises:
        OSError: If the kernel refuses the rules.
    """
    version = landlock_version()
    if version == 0:
        return -1
    # From <linux/landlock.h>: 13 rights in version 1, and one more in each of versions 2, 3 and 5.
    all_rights = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    execute, write_file, read_file, read_folder = 1 << 0, 1 << 1, 1 << 2, 1 << 3
    attributes = struct.pack("<Q", all_rights)
    rules = _call(
        "syscall",
        _SYS_LANDLOCK["create_ruleset"],
        attributes,
        ctypes.c_size_t(len(attributes)),
        0,
    )
    allowed = {path: read_file | (read_folder if os.path.isdir(path) else 0) for path in paths}
    allowed |= dict.fromkeys(_DEVICES, read_file | write_file)
    allowed["."] = all_rights & ~execute
    for path, rights in allowed.items():
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("<Qi", rights, descriptor)
        _call("syscall", _SYS_LANDLOCK["add_rule"], rules, 1, rule, 0)
        os.close(descriptor)
    return rules


def apply_file_rules(rules: int) -> None:
    """Restrict this process, irrevocably, to the rules that `make_file_rules` returned.

    Raises:
        OSError: If the kernel refuses.
    """
    if rules >= 0:
        _call("syscall", _SYS_LANDLOCK["restrict_self"], rules, 0)
        os.close(rules)


# Privileges and limits


def drop_privileges(uid: int | None) -> None:
    """Become an unprivileged user and give up every capability, irrevocably.

    Args:
        uid: The user and group to become; None to stay the same user (see
            `levels.unprivileged_uid`).

    Raises:
        OSError: If the process may not become that user.
    """
    global _library_descriptor
    if uid is not None:
        _library_descriptor = os.open(_LIBRARY, os.O_RDONLY)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.access(os.path.join(_LIBRARY, "os.py"), os.R_OK):
            os.close(_library_descriptor)
            _library_descriptor = -1
        else:  # only root may enter the folder of this Python, for example /root
            _import_from(f"/proc/self/fd/{_library_descriptor}")
    if LINUX:
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _call("capset", struct.pack("<Ii", 0x20080522, 0), bytes(24))
        # Closes /proc/PID/mem and /proc/PID/fd of this process to other processes of its user.
        prctl(_PR_SET_DUMPABLE, 0)
        die_with_parent()  # a change of user resets it


def _import_from(library: str) -> None:
    """Make Python import its standard library from another path to the same folder."""
    packages = [getattr(module, "__path__", None) for module in sys.modules.values()]
    for paths in [sys.path, *packages]:
        if isinstance(paths, list):
            paths[:] = [library + path.removeprefix(_LIBRARY) for path in paths if _LIBRARY in path]
    sys.path_importer_cache.clear()


def set_limits(
    *,
    memory_bytes: int | None = None,
    cpu_seconds: int | None = None,
    file_bytes: int | None = None,
    processes: int | None = None,
) -> None:
    """Limit this process and its children irrevocably; a limit that is None is not changed.

    The number of open files and the size of core dumps are always limited.

    Args:
        memory_bytes: Address space in bytes.
        cpu_seconds: Processor time in seconds. A process that ignores the signal is killed one
            second later.
        file_bytes: The longest file that the process may write, in bytes.
        processes: The number of processes that the user may have; with 0 no process can be started.

    Raises:
        OSError: If the kernel refuses a limit (Linux only).
        ValueError: If a limit is invalid (Linux only).
    """
    limits = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_NPROC": processes,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is None or value is None:
            continue
        _, hard = resource.getrlimit(kind)
        highest = value + (name == "RLIMIT_CPU")
        if hard != resource.RLIM_INFINITY:
            value, highest = min(value, hard), min(highest, hard)
        try:
            resource.setrlimit(kind, (value, highest))
        except (ValueError, OSError):  # macOS defines RLIMIT_AS but refuses to set it
            if LINUX:
                raise


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds; 0 if it cannot be read."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) returns on Linux
    except OSError:
        return 0.0


def close_files_except(descriptors: set[int]) -> None:
    """Close every open file except these, and the library folder that `drop_privileges` opened."""
    for descriptor in range(64):
        if descriptor not in descriptors and descriptor != _library_descriptor:
            try:  # noqa: SIM105  (contextlib takes 3 ms to import)
                os.close(descriptor)
            except OSError:
                pass
