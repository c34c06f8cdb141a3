"""Dagster's web application and daemon in this process, over one code server that both of them use.

`dagster dev` starts five processes, four of which load Dagster; here they are two: this one, and the code server (`dagster api
grpc`), which loads the graph and starts the runs. It is started first and in a thread of its own, while this process loads what
the web application needs. A code server that died is replaced; one that cannot load the graph shows in the UI why.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import DagsterInstance
from dagster._core.remote_representation.grpc_server_registry import GrpcServerRegistry, ServerRegistryEntry
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._grpc.constants import GrpcServerCommand

import sft_assets
from sft_assets.errors import SftError
from sft_assets.folder import Folder
from sft_assets.recipe import Recipe

if TYPE_CHECKING:
    from dagster._daemon.controller import DagsterDaemonController
    from starlette.types import ASGIApp

LOCATION = "sft_assets"
TARGET = ModuleTarget(  # the package's own place, so that the location is the same from wherever it is started
    module_name="sft_assets.definitions",
    attribute=None,
    working_directory=str(Path(sft_assets.__file__).parents[1]),
    location_name=LOCATION,
)
HEARTBEAT = 20  # seconds after which a code server ends that nobody asks any more: its server was killed


class Location(WorkspaceProcessContext):
    """The code location, and the recipe that it was loaded with."""

    def __init__(self, folder: Folder, instance: DagsterInstance, registry: GrpcServerRegistry, version: str, read_only: bool):
        self.folder = folder
        self.registry = registry
        self.recipe = read_recipe(folder)
        super().__init__(instance, TARGET, version=version, read_only=read_only, grpc_server_registry=registry)

    def reload_code_location(self, name: str) -> None:
        recipe = read_recipe(self.folder)  # before: an edit while it loads is shown as one that is not loaded
        super().reload_code_location(name)
        self.recipe = recipe

    def reload_workspace(self) -> None:
        recipe = read_recipe(self.folder)
        super().reload_workspace()
        self.recipe = recipe

    @property
    def is_broken(self) -> bool:
        """Whether the graph could not be loaded."""
        return self.has_code_location_error(LOCATION)

    def error(self) -> str | None:
        """Why the graph could not be loaded, in a line."""
        found = self.create_request_context().get_code_location_error(LOCATION)
        while found is not None and found.cause is not None:  # what Dagster wraps it in says less
            found = found.cause
        return None if found is None else " ".join(found.message.split())[:500]

    def edited(self) -> Recipe | None:
        """The recipe on disk, where it can be used and is not the loaded one."""
        recipe = read_recipe(self.folder)
        return recipe if isinstance(recipe, Recipe) and recipe != self.recipe else None

    def reload(self) -> None:
        """Load the definitions again."""
        self.reload_code_location(LOCATION)

    def ended(self) -> int | None:
        """The exit code of the code server, if it ended by itself."""
        entry = self.registry.get_grpc_server_entry(TARGET.create_origins()[0])
        return entry.process.server_process.poll() if isinstance(entry, ServerRegistryEntry) else None


def read_recipe(folder: Folder) -> Recipe | str:
    """The recipe on disk, or what is wrong with it."""
    try:
        return Recipe.load(folder.recipe)
    except SftError as error:
        return str(error)


@contextmanager
def apart(printed: Path | None) -> Iterator[None]:
    """Have code servers print into a file (None: where this process does), in a process group of their own.

    They hand both down to their runs. A run that is canceled prints at length where it was interrupted; and Ctrl-C interrupts
    all of a terminal's group, while a run is to be canceled by the server, or Dagster takes it for one that failed.
    """
    server: Any = import_module("dagster._grpc.server")
    start = server.open_ipc_subprocess  # Dagster has no setting for either
    if printed is not None:
        printed.unlink(missing_ok=True)  # the code server of a server that was killed may still write to that one
    with nullcontext() if printed is None else printed.open("wb") as out:
        server.open_ipc_subprocess = partial(start, stdout=out, stderr=out, process_group=0)
        try:
            yield
        finally:
            server.open_ipc_subprocess = start


@contextmanager
def opened(
    folder: Folder, instance: DagsterInstance, read_only: bool, printed: Path | None
) -> Iterator[tuple[Location, ASGIApp]]:
    """The code location and the web application over it. `printed`: see `apart`."""
    with ExitStack() as stack:
        stack.enter_context(apart(printed))
        registry = stack.enter_context(
            GrpcServerRegistry(
                instance_ref=instance.get_ref(),
                server_command=GrpcServerCommand.API_GRPC,
                heartbeat_ttl=HEARTBEAT,
                startup_timeout=instance.code_server_process_startup_timeout,
                wait_for_processes_on_shutdown=False,
                log_level="warning",
            )
        )
        early = threading.Thread(target=registry.get_grpc_server_entry, args=(TARGET.create_origins()[0],), daemon=True)
        early.start()
        from dagster_webserver.app import create_app_from_workspace_process_context
        from dagster_webserver.version import __version__

        early.join()
        location = stack.enter_context(Location(folder, instance, registry, __version__, read_only))
        yield location, create_app_from_workspace_process_context(location)


@contextmanager
def daemon(location: Location) -> Iterator[DagsterDaemonController]:
    """What evaluates sensors and schedules, starts queued runs and looks after those in progress: threads of this process."""
    from dagster._daemon.controller import DagsterDaemonController, create_daemons_from_instance

    with ExitStack() as stack:
        daemons = [stack.enter_context(one) for one in create_daemons_from_instance(location.instance)]
        yield stack.enter_context(DagsterDaemonController(location, daemons))
