"""Keeps Axolotl's telemetry out of commands that only inspect, and from holding up the exit.

Unless `AXOLOTL_DO_NOT_TRACK=1` is set, Axolotl sends events from a thread. At exit, posthog stops
this thread after the batch that it is sending, and then Axolotl waits until every event is sent.
Without network the first batch is retried for a while, so an event after it is never sent and the
process never ends: a job on a cluster would hold its GPUs until its time limit.
"""

from __future__ import annotations

import atexit

GRACE = 5.0
"""How long a process that ends waits for telemetry that is not sent yet, in seconds."""


def send_no_telemetry() -> None:
    """Turn off Axolotl's telemetry in this process, which trains nothing."""
    from axolotl.telemetry.manager import TelemetryManager

    TelemetryManager.get_instance().enabled = False


def limit_wait_at_exit(seconds: float = GRACE) -> None:
    """Let the process end although telemetry cannot be sent.

    Exit handlers run in reverse order, so this must be called after Axolotl's first event: that
    registers posthog's handler.

    Args:
        seconds: how long to wait for events that are not sent yet.
    """
    atexit.register(_drop_unsent_events, seconds)


def _drop_unsent_events(seconds: float) -> None:
    import posthog
    from axolotl.telemetry.manager import TelemetryManager

    manager, client = TelemetryManager.get_instance(), posthog.default_client
    if not manager.enabled or client is None:
        return
    events = client.queue
    with events.all_tasks_done:
        if events.all_tasks_done.wait_for(lambda: not events.unfinished_tasks, seconds):
            return
    manager.enabled = False
    atexit.unregister(client.join)  # behind a firewall, the current batch is retried for minutes
