"""A network and its profiles become a serialized engine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lib.trt.late import late
from lib.trt.network import Network, Refused
from lib.trt.phases import Phase, Phases
from lib.trt.profiles import Profile, shapes
from tinfra_worker import Resources

Told = Callable[[str, int, int], None]  # phase, steps done, steps of it
_MEMORY = re.compile(
    r"out of memory|OutOfMemory|insufficient memory|cudaErrorMemoryAllocation|bad_alloc", re.IGNORECASE
)
_NODE = re.compile(r"could not find any implementation for node (.+?)\.?(?: due to|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """`optimization` is TensorRT's level, 0-5; `timing` an earlier build's timings, or empty."""

    profiles: Sequence[Profile]
    optimization: int
    timing: bytes


@dataclass(frozen=True)
class Built:
    """`plan` and `timing` are buffers of the library's; `reused` says whether the timings that were given could be.
    `phases` are the outermost of the build.
    """

    plan: Any
    timing: bytes
    seconds: float
    reused: bool
    phases: Sequence[Phase]


def build(trt: ModuleType, logger: Any, parsed: Network, wanted: Wanted, told: Told) -> Built:
    """Build the engine.

    :class:`Refused` when TensorRT has no way to compute a node, :class:`Resources` when memory was not enough.
    """
    config = parsed.builder.create_builder_config()
    config.builder_optimization_level = wanted.optimization
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names and tactics, for the report
    config.max_aux_streams = 0  # one stream, so that a step is one chain of a CUDA graph
    reused = set_timing(config, wanted.timing)
    add_profiles(parsed, config, wanted.profiles)
    started = time.monotonic()
    with late() as came:
        monitor = make_monitor(trt, told, came)
        config.progress_monitor = monitor
        plan = parsed.builder.build_serialized_network(parsed.network, config)
    if monitor.stopped is not None:
        raise monitor.stopped
    if plan is None:
        raise failure(logger.lines)
    timed = bytes(memoryview(config.get_timing_cache().serialize()))
    return Built(plan, timed, time.monotonic() - started, reused, monitor.phases.outer)


def set_timing(config: Any, timing: bytes) -> bool:
    """Give the config a cache of timings to read and to fill; False when those given are another GPU's or version's."""
    cache = config.create_timing_cache(timing)
    if cache is not None and config.set_timing_cache(cache, False):
        return bool(timing)
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def add_profiles(parsed: Network, config: Any, profiles: Sequence[Profile]) -> None:
    declared = parsed.inputs()
    for profile in profiles:
        made = parsed.builder.create_optimization_profile()
        for name, shape in declared.items():
            made.set_shape(name, *shapes(name, shape, profile))
        if config.add_optimization_profile(made) < 0:
            raise Refused(f"TensorRT refuses the profile {profile}")


def make_monitor(trt: ModuleType, told: Told, came: Sequence[int]) -> Any:
    """Tells of the outermost phases, keeps the times of all in `phases`, and ends the build once a signal `came`, or
    where what it calls raises.

    Nothing may be raised into the library, so what was is kept in `stopped`.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None
            self.sizes: dict[str, int] = {}
            self.phases = Phases()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases.begin(phase_name, parent_phase)
            if not parent_phase:
                self.sizes[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self.phases.end(phase_name)
            self.sizes.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if phase_name in self.sizes and self.stopped is None:
                    told(phase_name, min(step + 1, self.sizes[phase_name]), self.sizes[phase_name])
            except BaseException as e:  # Cancelled is none of Exception's
                self.stopped = e
            return self.stopped is None and not came

    return Monitor()


def failure(lines: Sequence[str]) -> Exception:
    """Why a build ended without an engine, from what TensorRT said, last words first."""
    errors = [line for line in lines if line.startswith(("[ERROR]", "[INTERNAL_ERROR]"))]
    text = "\n".join(errors)
    if _MEMORY.search(text):
        return Resources(
            f"TensorRT ran out of memory: {_last(errors, _MEMORY)}",
            "give the stage more memory, or build for smaller batches, fewer tokens or fewer profiles",
        )
    if node := _NODE.search(text):
        return Refused(f"TensorRT has no way to compute {node[1]}")
    return Refused(f"TensorRT gives no engine: {errors[-1] if errors else 'it does not say why'}")


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> str:
    return next(line for line in reversed(lines) if pattern.search(line))
