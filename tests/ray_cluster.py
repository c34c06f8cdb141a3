"""A Ray cluster of several nodes on this machine, each a process of its own, on loopback.

with ray_cluster(nodes=2) as cluster:
    cluster.address             # for engine: {ray: {address: ...}}
    cluster.kill_a_worker()     # one that works on a batch right now
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"
STORE = 100 << 20  # bytes of a node's object store
ON_LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300",
}  # elsewhere Ray takes the machine's IP


class RayNodes:
    def __init__(self, cluster: Any):
        self.cluster, self.address = cluster, str(cluster.address)

    def workers(self) -> list[psutil.Process]:
        """Processes of workers that have their job."""
        return [process for process in self.processes() if self._title(process).startswith("ray::SftWorker")]

    def kill_a_worker(self, patience: float = 300.0) -> int:
        """Kill a worker with -9 while it works on a batch; its process id."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            for process in self.processes():
                if self._title(process).startswith("ray::SftWorker.run"):
                    with suppress(psutil.NoSuchProcess):
                        os.kill(process.pid, signal.SIGKILL)
                        return process.pid
            time.sleep(0.005)
        raise TimeoutError("no worker worked on a batch")

    def kill(self) -> None:
        """Kill every process of the cluster with -9."""
        for process in list(self.processes()):
            with suppress(psutil.NoSuchProcess):  # or a zombie
                if "sft_assets.engine.bridge" not in process.cmdline():
                    process.kill()

    def processes(self) -> Iterator[psutil.Process]:
        """Of the cluster, and of whoever was started by this process otherwise."""
        with suppress(psutil.NoSuchProcess):
            yield from psutil.Process().children(recursive=True)

    @staticmethod
    def _title(process: psutil.Process) -> str:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
            return process.cmdline()[0]
        return ""


@contextmanager
def ray_cluster(nodes: int = 2, cpus: int = 1) -> Iterator[RayNodes]:
    """Nodes with so many CPUs each."""
    before = {name: os.environ.get(name) for name in ON_LOOPBACK}
    os.environ |= ON_LOOPBACK  # for the nodes, and for whoever connects to them
    from ray.cluster_utils import Cluster

    one = {"num_cpus": cpus, "node_ip_address": LOOPBACK, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**one, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**one)
        yield RayNodes(cluster)
    finally:
        with suppress(Exception):  # nodes that were killed
            cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
