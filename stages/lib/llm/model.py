"""Opens whatever model an input holds, for those who only read its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.llm import contract
from lib.llm.checkpoint import check_model, load_model, read_plainly
from lib.llm.decoder import Feeder, Unfit, open_decoder
from lib.llm.rows import Rows, open_rows, opened
from lib.llm.runner import GRAPH, GraphRunner, Runner
from tinfra_worker import BadInput, Job

if TYPE_CHECKING:
    import torch

ENGINE = "engine.plan"


def open_model(job: Job, port: str, dtype: str) -> Feeder:
    """Load the model of an input on what was granted; :class:`BadInput` names the port of what cannot be run.

    An engine runs by TensorRT, a decoder's graph and one of onnxruntime-genai by onnxruntime, a checkpoint by
    transformers in `dtype`. The others have types of their own, of which `dtype` says nothing.
    """
    import torch

    folder = job.input(port)
    torch.set_num_threads(job.cpus)
    if (folder / GRAPH).exists() and not (folder / contract.NAME).exists():
        return GraphFeeder(GraphRunner(job, port))
    if not (folder / contract.NAME).exists():
        from lib.llm.hub import HubDecoder

        return HubDecoder(load_model(job, port, dtype, **read_plainly(check_model(job, port))))
    try:
        own = contract.read_contract(folder).dtype
        return open_decoder(folder, "tensorrt" if (folder / ENGINE).exists() else "onnxruntime", own)
    except ValueError as e:
        raise BadInput(port, str(e)) from e


class GraphFeeder:
    """A :class:`~lib.llm.decoder.Feeder` of a graph whose cache grows: all rows are of one length."""

    def __init__(self, runner: Runner) -> None:
        import torch

        self._runner = runner
        self.vocabulary, self.dtype, self.engine = runner.vocabulary, runner.dtype, runner.engine
        self.device = torch.device("cpu")
        self._rows: Rows | None = None
        self._past: Any = None

    def open(self, batch: int, length: int) -> None:
        self._rows, self._past = open_rows(batch, length, length), None

    def feed(self, ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        import torch

        held = opened(self._rows)
        held.room(ids, ids.shape[1])
        logits, self._past = self._runner.forward(ids.cpu().numpy(), self._past)
        held.longest += ids.shape[1]
        return torch.from_numpy(logits)[:, rows]

    def rewind(self, length: int | torch.Tensor = 0) -> None:
        held = opened(self._rows)
        if isinstance(length, int) and length == 0:
            self._past, held.longest = None, 0
            return
        raise Unfit("a graph's own cache is not cut: only all of it is forgotten")
