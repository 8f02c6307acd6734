"""What a run was trained on, in words for its report."""

from __future__ import annotations

import os
import platform


def hardware(ranks: int) -> dict[str, str]:
    """The machine of this process.

    Args:
        ranks: processes that train together, over all hosts.
    """
    import torch

    found = {"cpu": f"{_cpu()}, {os.cpu_count()} cores", "ranks": str(ranks)}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        gib = properties.total_memory / 2**30
        count = torch.cuda.device_count()
        found = {"gpu": f"{count} x {properties.name}, {gib:.0f} GiB each (this host)"} | found
        if torch.version.cuda:
            found["cuda"] = torch.version.cuda
    return found


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
