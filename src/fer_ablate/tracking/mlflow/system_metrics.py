"""The load of the machine while a run trains, read and sent by MLflow itself under `system/...`."""

import logging
from typing import Any, Protocol

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from fer_ablate.addresses import usable


class Monitor(Protocol):
    """A thread of MLflow's."""

    def finish(self) -> None:
        """End the thread; what it has read is sent."""
        ...


def monitor_system(uri: str, run_id: str) -> Monitor:
    """Begin to read the load every ten seconds, or as `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` says.

    Args:
        uri: of the store.
        run_id: MLflow's; a resumed run goes on after its last step.
    """
    # It warns of each card that it finds no library for, and of each request that a server does not answer.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    monitor: Any = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=usable(uri))  # type: ignore[no-untyped-call]
    monitor.start()
    started: Monitor = monitor
    return started
