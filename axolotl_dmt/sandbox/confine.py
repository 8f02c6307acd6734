"""What a process does to itself, inside the sandbox, before it runs code that nobody trusts.

Linux calls that Python does not offer go through ctypes. Other systems get the limits only.
It runs inside the sandbox, so it imports next to nothing.
"""

import ctypes
import os
import resource
import struct
import sys

LINUX = sys.platform == "linux"

# From <sys/mount.h>, <sched.h> and <sys/prctl.h>.
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SIGKILL = 9
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1

_SYS_LANDLOCK = {"create_ruleset": 444, "add_rule": 445, "restrict_self": 446}
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_EPERM = 1
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Calls that no candidate needs, as (x86_64, aarch64) numbers from <asm/unistd.h>. It is a list of
# what is denied, not of what is allowed: the second wall behind the namespaces and the limits.
_DENIED = {
    # new processes and programs (RLIMIT_NPROC does not hold for every root)
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # the network
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),
    # other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    # leaving what holds it
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "prctl": (157, 167),
    "seccomp": (317, 277),
    "personality": (135, 92),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # memory that RLIMIT_AS does not see
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # parts of the kernel known for their bugs
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
}

_HOME = os.path.dirname(os.__file__)
_library = -1
"""An open folder: Python's library, where its path cannot be passed any more."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> int:
    """A libc function that says -1 where it fails."""
    result = int(getattr(_libc, name)(*args))
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}")
    return result


def _prctl(option: int, *args: object) -> None:
    # prctl takes longs, and ctypes passes a bare int as 32 bits.
    longs = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    longs += [ctypes.c_ulong(0)] * (4 - len(longs))
    _call("prctl", option, *longs)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    if LINUX:
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


# Namespaces


def enter_namespaces(
    *, paths: list[str], mount_point: str, work: str, work_bytes: int, as_root: bool
) -> None:
    """Leave the host's processes, network and files behind; returns in a new process, as its pid 1.

    Root does so directly (it drops its rights later), anybody else through a user namespace.

    Args:
        paths: files and folders that stay visible, read-only.
        mount_point: any folder to build the new root on; nothing is written there.
        work: the one writable folder, new, empty and in memory; the current folder afterwards.
        work_bytes: how much fits in it.
        as_root: whether this is a root that may make namespaces without one for users.

    Raises:
        OSError: the kernel does not allow it.
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
    # The new root over the old one at the same place, then the old one taken away from under it.
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


# Files


def landlock_version() -> int:
    """The version of Landlock that the kernel has; 0 where it has none."""
    if not LINUX:
        return 0
    version = 1
    return max(
        0, int(_libc.syscall(_SYS_LANDLOCK["create_ruleset"], None, ctypes.c_size_t(0), version))
    )


def file_rules(paths: list[str]) -> int:
    """Make rules that allow to read `paths` and to write in the current folder, and no other file.

    Namespaces hide other files already; where there are none, this is what does.

    Returns:
        An open file for `follow_file_rules`; -1 where the kernel has no Landlock.
    """
    version = landlock_version()
    if version == 0:
        return -1
    # From <linux/landlock.h>: 13 rights at first, and later one more each in versions 2, 3 and 5.
    every = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    execute, write_file, read_file, read_folder = 1 << 0, 1 << 1, 1 << 2, 1 << 3
    attributes = struct.pack("<Q", every)
    rules = _call(
        "syscall",
        _SYS_LANDLOCK["create_ruleset"],
        attributes,
        ctypes.c_size_t(len(attributes)),
        0,
    )
    allowed = {path: read_file | (read_folder if os.path.isdir(path) else 0) for path in paths}
    allowed |= dict.fromkeys(_DEVICES, read_file | write_file)
    allowed["."] = every & ~execute
    for path, rights in allowed.items():
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("<Qi", rights, place)
        _call("syscall", _SYS_LANDLOCK["add_rule"], rules, 1, rule, 0)
        os.close(place)
    return rules


def follow_file_rules(rules: int) -> None:
    """Keep to the rules of `file_rules` from now on."""
    if rules >= 0:
        _call("syscall", _SYS_LANDLOCK["restrict_self"], rules, 0)
        os.close(rules)


# Rights and limits


def drop_rights(uid: int | None) -> None:
    """Become an unprivileged user where this is root, and give up every capability for good.

    Args:
        uid: the user and the group that root becomes; None: it is no root, or of nothing real.

    Raises:
        OSError: root may not become that user.
    """
    global _library
    if uid is not None:
        _library = os.open(_HOME, os.O_RDONLY)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.access(os.path.join(_HOME, "os.py"), os.R_OK):
            os.close(_library)
            _library = -1
        else:  # Python lives where only root may pass, in /root for one
            _import_from(f"/proc/self/fd/{_library}")
    if LINUX:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _call("capset", struct.pack("<Ii", 0x20080522, 0), bytes(24))
        # Keeps /proc/PID/mem and /proc/PID/fd of this process from others of the same user.
        _prctl(_PR_SET_DUMPABLE, 0)
        die_with_parent()  # a change of user clears it


def _import_from(library: str) -> None:
    """Look for modules in Python's library by another path to it."""
    packages = [getattr(module, "__path__", None) for module in sys.modules.values()]
    for places in [sys.path, *packages]:
        if isinstance(places, list):
            places[:] = [library + path.removeprefix(_HOME) for path in places if _HOME in path]
    sys.path_importer_cache.clear()


def set_limits(
    *,
    memory_bytes: int | None = None,
    cpu_seconds: int | None = None,
    file_bytes: int | None = None,
    processes: int | None = None,
) -> None:
    """Limit this process and those it starts, for good; what is None stays as it is.

    Args:
        memory_bytes: its address space.
        cpu_seconds: its processor time.
        file_bytes: the longest file it may write.
        processes: how many the user may have; 0 lets this process start none.
    """
    wanted = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_NPROC": processes,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is None or value is None:
            continue
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # macOS knows RLIMIT_AS and refuses to set it
            if LINUX:
                raise


def keep_only(descriptors: set[int]) -> None:
    """Close every other open file, except what `drop_rights` opened on Python's own library."""
    for descriptor in range(64):
        if descriptor not in descriptors and descriptor != _library:
            try:  # noqa: SIM105  (contextlib takes 3 ms to import)
                os.close(descriptor)
            except OSError:
                pass


def deny_system_calls() -> None:
    """Have the kernel refuse the calls of `_DENIED` from now on; nothing on other machines."""
    machine = os.uname().machine
    if not LINUX or machine not in _AUDIT_ARCH:
        return
    column = 0 if machine == "x86_64" else 1
    numbers = [number for pair in _DENIED.values() if (number := pair[column]) is not None]
    program = _filter(_AUDIT_ARCH[machine], numbers)
    code = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header))


def _filter(arch: int, denied: list[int]) -> bytes:
    """A classic BPF program over `struct seccomp_data`: the number is at 0, the machine at 4."""
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050000 | _EPERM, 0x7FFF0000
    count = len(denied)
    steps = [
        (load, 0, 0, 4),
        (equal, 1, 0, arch),
        (give, 0, 0, kill),
        (load, 0, 0, 0),
        # x86_64 has a second set of numbers from here on (x32).
        (at_least, count + 1, 0, 0x40000000),
    ]
    steps += [(equal, count - i, 0, number) for i, number in enumerate(denied)]
    steps += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
