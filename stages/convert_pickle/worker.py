"""Weights in pickles as safetensors, a file for each: no more than one is in memory."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lib.hf.layout import CONFIG, TOKENIZER, copy
from tinfra_worker import BadInput, Job, run

if TYPE_CHECKING:
    import torch

SHARD = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin")
INDEX = "pytorch_model.bin.index.json"


def main(job: Job) -> None:
    from safetensors.torch import save_file

    folder, shards = find(job)
    tied = tied_names(folder)
    out = job.output("model")
    homes: dict[str, str] = {}  # tensor → file
    parameters = size = 0
    for done, shard in enumerate(shards):
        job.progress(done, len(shards), "files", f"converting {shard.name}")
        tensors = plain(load(shard), tied)
        name = shard.name.replace("pytorch_model", "model").replace(".bin", ".safetensors")
        if twice := tensors.keys() & homes.keys():
            raise BadInput("files", f"{min(twice)} stands in two files of the model")
        save_file(tensors, out / name, metadata={"format": "pt"})
        homes |= dict.fromkeys(tensors, name)
        parameters += sum(t.numel() for t in tensors.values())
        size += sum(t.numel() * t.element_size() for t in tensors.values())
    if not homes:
        raise BadInput("files", f"{shards[0].name} holds no tensor")
    check_index(folder, homes, tied)
    if len(shards) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(homes.items()))}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    copy(folder, CONFIG, out)
    if job.wants("tokenizer") and (folder / "tokenizer.json").is_file():
        copy(folder, TOKENIZER, job.output("tokenizer"))
    job.metric("parameters", parameters)
    job.progress(len(shards), len(shards), "files", "converted")


def find(job: Job) -> tuple[Path, list[Path]]:
    """The only folder with a config and pickled weights, and those weights: whole, or every shard."""
    root = job.input("files")
    folders = [
        p.parent for p in sorted(root.rglob("config.json")) if any(map(is_weights, p.parent.glob("pytorch_model*.bin")))
    ]
    if len(folders) != 1:
        have = ", ".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")) if p.is_file())
        raise BadInput(
            "files",
            f"{len(folders)} folders hold a config.json and pytorch_model*.bin; one must. The input holds: {have}",
            "weights in safetensors need no conversion: they are the download's port `model`",
        )
    shards = sorted(filter(is_weights, folders[0].glob("pytorch_model*.bin")))
    whole = folders[0] / "pytorch_model.bin"
    if whole in shards:
        return folders[0], [whole]
    total = int(shards[0].stem.rpartition("-")[2])
    names = {f"pytorch_model-{n:05d}-of-{total:05d}.bin" for n in range(1, total + 1)}
    if missing := sorted(names - {p.name for p in shards}):
        raise BadInput("files", f"{missing[0]} is missing")
    return folders[0], shards


def is_weights(path: Path) -> bool:
    return SHARD.fullmatch(path.name) is not None


def tied_names(folder: Path) -> dict[str, str]:
    """Which tensors the model has under two names, by its config: the second name → the one that is kept."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as e:
        raise BadInput("files", f"config.json is not that of a causal LM: {e}") from e
    return dict(model.get_expanded_tied_weights_keys(all_submodels=True))


def load(shard: Path) -> dict[str, torch.Tensor]:
    """Read a pickle without running it: weights_only lets torch build tensors, and nothing else."""
    import torch

    try:
        try:
            state = torch.load(shard, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as e:
            if "mmap can only be used" not in str(e):
                raise
            state = torch.load(shard, map_location="cpu", weights_only=True)  # as torch wrote it before 1.6
    except pickle.UnpicklingError as e:
        asked = re.search(r"(?:GLOBAL|Unsupported (?:class|global|operand)) \S[^\n]*", str(e))
        raise BadInput(
            "files",
            f"{shard.name} is no pickle of tensors only: {asked[0] if asked else str(e).splitlines()[0]}",
            "it was not run. Take another source: a file of weights needs no code",
        ) from e
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise BadInput("files", f"{shard.name} is damaged: {str(e).splitlines()[0] if str(e) else e!r}") from e
    if not isinstance(state, dict):
        raise BadInput("files", f"{shard.name} holds a {type(state).__name__}, no tensors by name")
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor)):
            raise BadInput("files", f"{shard.name}: {name!r} is a {type(value).__name__}, no tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "without data" if value.is_meta else "quantized" if value.is_quantized else "sparse"
            raise BadInput("files", f"{shard.name}: the tensor {name!r} is {kind}; safetensors holds plain ones only")
    # A view that says "negated" or "conjugated" has the bytes of what it is a view of.
    return {name: value.resolve_conj().resolve_neg() for name, value in state.items()}


def plain(state: dict[str, torch.Tensor], tied: dict[str, str]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory, as safetensors wants them.

    A name that the config ties to another goes, as when transformers saves. Others that share memory get their own:
    were one dropped that is not tied, transformers would fill it with random numbers.
    """
    import torch

    where = {n: (t.untyped_storage().data_ptr(), t.storage_offset(), t.shape, t.stride()) for n, t in state.items()}
    kept: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        source = tied.get(name)
        if source in state and where[source] == where[name]:
            continue
        storage = tensor.untyped_storage()
        alone = storage.data_ptr() not in seen and tensor.is_contiguous() and storage.nbytes() == tensor.nbytes
        seen.add(storage.data_ptr())
        kept[name] = tensor if alone else tensor.clone(memory_format=torch.contiguous_format)
    return kept


def check_index(folder: Path, homes: dict[str, str], tied: dict[str, str]) -> None:
    """:class:`BadInput` when the index promises tensors that no file holds."""
    path = folder / INDEX
    if not path.is_file():
        return
    try:
        promised = json.loads(path.read_text(encoding="utf-8"))["weight_map"].keys()
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise BadInput("files", f"{INDEX} is damaged: {e}") from e
    if missing := sorted(promised - homes.keys() - tied.keys()):
        raise BadInput("files", f"{INDEX} names {missing[0]}, which no file holds")


if __name__ == "__main__":
    run(main)
