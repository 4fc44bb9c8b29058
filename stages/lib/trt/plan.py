"""An engine on its device: what is run, with which profile, on which stream."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lib.trt import description
from lib.trt.cache import ALIGN
from lib.trt.library import architecture, load, make_logger


class Context:
    """One way through an engine: a profile, and the tensors that it reads and writes."""

    def __init__(self, made: Any, stream: torch.cuda.Stream, memory: torch.Tensor, names: set[str]) -> None:
        self.made = made
        self._stream = stream
        self._names = names  # of all that the engine reads and writes
        self._memory = memory  # must live as long as the context

    def bind(self, tensors: dict[str, torch.Tensor]) -> None:
        """Give it its tensors by name, inputs and outputs. Only their addresses are kept: the caller holds them, at
        least until the last pass is enqueued if they were made on the plan's stream.
        """
        if tensors.keys() != self._names:
            raise ValueError(f"these are of the engine or given, not both: {sorted(self._names ^ tensors.keys())}")
        for name, tensor in tensors.items():
            if tensor.data_ptr() % ALIGN or not tensor.is_contiguous():
                raise ValueError(f"{name} is not aligned as TensorRT wants it")
            if not name.startswith(("new.", "logits")) and not self.made.set_input_shape(name, tuple(tensor.shape)):
                raise ValueError(f"the engine does not take {name} of {tuple(tensor.shape)}")
            if not self.made.set_tensor_address(name, tensor.data_ptr()):
                raise ValueError(f"the engine does not take an address for {name}")
        if missing := self.made.infer_shapes():
            raise ValueError(f"the engine lacks the shapes of {', '.join(missing)}")

    def run(self) -> None:
        """Enqueue one pass."""
        if not self.made.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError("TensorRT could not enqueue a pass")


class Plan:
    """A deserialized engine. What it runs goes through one stream, so its contexts share scratch memory."""

    def __init__(self, folder: Path) -> None:
        """ValueError when the folder is no engine, or none for this machine."""
        described = description.read(folder)
        trt = load()
        described.check(trt.__version__, architecture())
        name = torch.cuda.get_device_name()
        if described.gpu_name != name:
            warnings.warn(f"the engine was built on {described.gpu_name}, and may be slower on {name}", stacklevel=2)
        self.version = described.version
        self.profiles = described.profiles
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.stream = torch.cuda.Stream()
        self.trt = trt
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self.engine = self._deserialize(folder / description.PLAN)
        self._memory: torch.Tensor | None = None
        self._names = {self.engine.get_tensor_name(n) for n in range(self.engine.num_io_tensors)}

    def _deserialize(self, path: Path) -> Any:
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                engine = self._runtime.deserialize_cuda_engine(mapped)
        except (OSError, ValueError) as e:
            raise ValueError(f"{path.name} cannot be read: {e}") from e
        if engine is None:
            raise ValueError(f"{path.name} cannot be loaded: {' '.join(self._logger.lines[-2:])}")
        return engine

    def dtype(self) -> str:
        """Of its logits."""
        kinds = self.trt.DataType
        names = {kinds.FLOAT: "float32", kinds.HALF: "float16", kinds.BF16: "bfloat16"}
        return names[self.engine.get_tensor_dtype("logits")]

    def context(self, profile: int) -> Context:
        """A new context of a profile. A captured one must be left alone, so each use has its own."""
        made = self.engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if made is None:
            raise torch.OutOfMemoryError(f"out of memory for a context: {' '.join(self._logger.lines[-2:])}")
        if self._memory is None:
            # What the largest profile needs, whichever is chosen: set_device_memory wants no less, by its own words.
            size = max(self.engine.device_memory_size_v2, 1)
            self._memory = torch.empty(size, dtype=torch.uint8, device=self.device)
        if not made.set_optimization_profile_async(profile, self.stream.cuda_stream):
            raise ValueError(f"the engine has no profile {profile}")
        self.stream.synchronize()
        made.set_device_memory(self._memory.data_ptr(), self._memory.numel())
        return Context(made, self.stream, self._memory, self._names)

    @contextmanager
    def on_stream(self) -> Iterator[None]:
        """Within this torch works on the engine's stream; before and behind it one stream waits for the other."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)
