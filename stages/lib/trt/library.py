"""TensorRT's Python bindings, and what the library says while it works.

`import tensorrt_bindings` stands here alone, and inside functions: nothing else of the project needs it installed.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from tinfra_worker import Machine

SAID = 20000  # lines that are kept; a build says some hundred
# The library has one logger a process, the first that it is given while nothing else of it lives, and only points at
# it: an engine that is still used may speak to the logger of one that is gone.
_LOGGERS: list[Any] = []


def load() -> ModuleType:
    """The bindings; :class:`Machine` where the library or a GPU is missing.

    Without a driver TensorRT 10.6 ends the whole process by std::terminate, so the GPU is asked for before.
    """
    import torch

    if not torch.cuda.is_available():
        raise Machine(
            "TensorRT needs an NVIDIA GPU, and torch can use none here", "run the stage on a machine with one"
        )
    try:
        import tensorrt_bindings
    except ImportError as e:
        raise Machine(
            f"TensorRT cannot be loaded: {e}",
            "its libraries are native parts of the environment gpu: see `tinfra doctor`",
        ) from e
    return tensorrt_bindings


def make_logger(trt: ModuleType) -> Any:
    """A logger that keeps what is said in `lines`, as "[WARNING] …"; details of tactics are left out. `times` holds the
    seconds of each line since `began`, which is of time.monotonic.
    """

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.began = time.monotonic()
            self.lines: list[str] = []
            self.times: list[float] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity != trt.ILogger.Severity.VERBOSE and len(self.lines) < SAID:
                self.times.append(time.monotonic() - self.began)
                self.lines.append(f"[{str(severity).rpartition('.')[2]}] {msg}")

    made = Log()
    _LOGGERS.append(made)
    return made


def architecture() -> str:
    """The GPU's, as the fact gpu.arch has it: sm_90."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"
