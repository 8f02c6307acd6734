"""Deny system calls that no candidate program needs, by a seccomp filter.

The module is loaded inside the sandbox, so it imports almost nothing.
"""

import ctypes
import os
import struct

from axolotl_dmt.sandbox import confine

_PR_SET_SECCOMP = 22  # from <sys/prctl.h>
_EPERM = 1
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# System calls that no candidate needs, as (x86_64, aarch64) numbers from <asm/unistd.h>. This is a
# deny list, not an allow list: a second line of defence behind the namespaces and the limits.
_DENIED = {
    # new processes and programs (RLIMIT_NPROC does not limit every root user)
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
    # escaping its session, namespaces or file system
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
    # memory that RLIMIT_AS does not count
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # kernel interfaces with a history of vulnerabilities
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


def deny_system_calls() -> None:
    """Ask the kernel to refuse the system calls of `_DENIED` from now on.

    The function does nothing on systems and machine types without a list of call numbers.

    Raises:
        OSError: If the kernel does not support seccomp filters.
    """
    machine = os.uname().machine
    if not confine.LINUX or machine not in _AUDIT_ARCH:
        return
    column = 0 if machine == "x86_64" else 1
    numbers = [number for pair in _DENIED.values() if (number := pair[column]) is not None]
    program = _seccomp_program(_AUDIT_ARCH[machine], numbers)
    code = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    confine.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header))


def _seccomp_program(arch: int, denied: list[int]) -> bytes:
    """Return a classic BPF program that refuses the denied system calls.

    It reads `struct seccomp_data`: the call number is at offset 0, the machine type at offset 4.
    """
    load, equal, at_least, ret = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050000 | _EPERM, 0x7FFF0000
    count = len(denied)
    steps = [
        (load, 0, 0, 4),
        (equal, 1, 0, arch),
        (ret, 0, 0, kill),
        (load, 0, 0, 0),
        # On x86_64 a second set of call numbers (x32) starts here.
        (at_least, count + 1, 0, 0x40000000),
    ]
    steps += [(equal, count - i, 0, number) for i, number in enumerate(denied)]
    steps += [(ret, 0, 0, allow), (ret, 0, 0, refuse)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
