"""Which files of a repository are brought: what a causal LM needs, and the same weights only once."""

from __future__ import annotations

from download.globs import matcher
from tinfra_worker import BadParam

SHARD = "model-*-of-*.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")
# Config, tokenizer and licence. Folders (original/, onnx/, …) hold the weights again in other formats.
BESIDE = (
    *("*.json", "*.txt", "*.jinja", "*.model", "*.tiktoken", "tokenizer*", "additional_chat_templates/*"),
    *("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"),
)
NOT_BESIDE = ("*.index.json", "trainer_state.json", "*_results.json", "*.bin", "*.safetensors")


def choose(paths: list[str], kind: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> list[str]:
    """The paths to bring, sorted; :class:`BadParam` when a pattern matches nothing or nothing is left."""
    for glob in include:
        if not matching(paths, (glob,)):
            raise BadParam("source", f"no file matches include={glob}", holds(paths))
    if include:
        chosen = matching(paths, include)
    elif kind == "dataset":
        chosen = [p for p in paths if p != ".gitattributes"]
    else:
        chosen = model_files(paths)
    chosen = sorted(set(chosen) - set(matching(chosen, exclude)))
    if not chosen:
        raise BadParam("source", "no file is left to bring", holds(paths))
    return chosen


def model_files(paths: list[str]) -> list[str]:
    """What transformers would load from the top folder, in the form that it prefers, and what stands beside it."""
    chosen = weights(paths)
    if not chosen:
        raise BadParam(
            "source",
            "it has neither *.safetensors nor pytorch_model*.bin in its top folder",
            f"choose files by #include=GLOB; {holds(paths)}",
        )
    beside = matching(paths, BESIDE)
    return chosen + [p for p in beside if p not in matching(beside, NOT_BESIDE)]


def weights(paths: list[str]) -> list[str]:
    """One form of the weights: whole, else in shards, else any safetensors, else pickles."""
    if "model.safetensors" in paths:
        return ["model.safetensors"]
    for globs in ((SHARD, INDEX), ("*.safetensors", "*.safetensors.index.json"), PICKLED):
        if found := matching(paths, globs):
            return found
    return []


def matching(paths: list[str], globs: tuple[str, ...]) -> list[str]:
    patterns = [matcher(g) for g in globs]
    return [p for p in paths if any(m.fullmatch(p) for m in patterns)]


def holds(paths: list[str]) -> str:
    shown = sorted(paths)
    return "it holds " + ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
