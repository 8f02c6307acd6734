"""Axolotl's telemetry is not sent by commands that inspect, and does not hold up the exit."""

from __future__ import annotations

import os
import subprocess
import sys

UNREACHABLE = """
import time
import posthog
from axolotl.telemetry.manager import TelemetryManager
from axolotl_dmt.training.telemetry import limit_wait_at_exit, send_no_telemetry

manager = TelemetryManager.get_instance()
assert manager.enabled
posthog.host = "http://127.0.0.1:9"
manager.send_event("first")
posthog.default_client.consumers[0].retries = 100
limit_wait_at_exit(0.5)
time.sleep(1.5)  # the first event is being retried
manager.send_event("second")
waiting = posthog.default_client.queue.unfinished_tasks
assert waiting == 2, waiting
print("at its end")
"""


def test_a_process_ends_although_telemetry_cannot_be_sent() -> None:
    tracked = {k: v for k, v in os.environ.items() if not k.endswith("DO_NOT_TRACK")}
    command = [sys.executable, "-c", UNREACHABLE]
    ended = subprocess.run(command, env=tracked, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, "at its end\n"), ended.stderr
