"""A Llama-shaped checkpoint as the tensors that a decode step reads, on their device.

It knows names, shapes and how weights are stored. It must not know how a step is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.llm.decoder import Unfit
from lib.llm.packed import WORD, Kernel, Linear, Packed, join, plain

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")


@dataclass(frozen=True)
class Layer:
    """`qkv` gives queries, keys and values one after the other; `gate_up` the gate and what it lets through."""

    before: torch.Tensor  # the weight of the norm before attention, [hidden]
    qkv: Linear
    out: Linear
    between: torch.Tensor  # of the norm before the MLP
    gate_up: Linear
    down: Linear


@dataclass(frozen=True)
class Llama:
    """`heads` of `head_dim`, over `kv_heads`; `weight_bytes` is what a step reads: all but the embedding."""

    config: PretrainedConfig
    heads: int
    kv_heads: int
    head_dim: int
    embedding: torch.Tensor  # [vocabulary, hidden]
    layers: list[Layer]
    norm: torch.Tensor
    head: Linear
    weight_bytes: int
    packed: bool  # whether any layer is stored packed


def load_llama(folder: Path, device: torch.device, dtype: torch.dtype, kernel: Kernel) -> Llama:
    """Bring a checkpoint to the device, a layer at a time; ValueError says why it cannot be."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    _check(config)
    return _Reader(folder, device, dtype, kernel).model(config)


def _check(config: Any) -> None:
    found = next(iter(config.architectures or ["no architecture"]))
    if found not in ARCHITECTURES:
        raise Unfit(f"the model is {found}; {' and '.join(ARCHITECTURES)} are run so. Others run by generate")
    if getattr(config, "sliding_window", None):
        raise Unfit("the model attends within a sliding window; this runs by generate only")
    if config.hidden_act != "silu":
        raise Unfit(f"the model's activation is {config.hidden_act}; silu is run so")
    if config.rope_parameters["rope_type"] in ("dynamic", "longrope"):
        raise Unfit(f"the model's positions are {config.rope_parameters['rope_type']}, which depends on the length")
    found = getattr(config, "quantization_config", None)
    if not found:
        return
    found = found if isinstance(found, dict) else found.to_dict()
    groups = found.get("config_groups") or {}
    if found.get("quant_method") != "compressed-tensors" or found.get("format") != "pack-quantized":
        raise Unfit(
            f"the model is quantized as {found.get('quant_method')} ({found.get('format')}); it runs by generate"
        )
    if any(g.get("input_activations") or g.get("output_activations") for g in groups.values()):
        raise Unfit("the model quantizes activations too; it runs by generate")


class _Reader:
    """Counts the bytes of what it makes linears of."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, kernel: Kernel) -> None:
        from safetensors import safe_open

        self.device, self.dtype, self.kernel = device, dtype, kernel
        self.where: dict[str, Any] = {}
        self.bytes = 0
        self.packed = False
        for path in sorted(folder.glob("*.safetensors")):
            # Straight to the device: the whole model need not fit the host's memory beside it.
            file = safe_open(path, framework="pt", device=str(device))
            self.where |= dict.fromkeys(file.keys(), file)

    def model(self, config: Any) -> Llama:
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        embedding = self.tensor("model.embed_tokens.weight")
        if embedding.shape != (config.vocab_size, config.hidden_size):
            raise ValueError(f"the embedding is of shape {list(embedding.shape)}, not as config.json says")
        layers = [self.layer(f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        norm = self.counted("model.norm.weight")
        if config.tie_word_embeddings:
            head = plain(embedding)
            self.bytes += embedding.nbytes
        else:
            head = self.linear("lm_head")
        return Llama(
            config,
            config.num_attention_heads,
            config.num_key_value_heads,
            head_dim,
            embedding,
            layers,
            norm,
            head,
            self.bytes,
            self.packed,
        )

    def layer(self, at: str) -> Layer:
        return Layer(
            self.counted(f"{at}input_layernorm.weight"),
            self.linear(*(f"{at}self_attn.{name}_proj" for name in "qkv")),
            self.linear(f"{at}self_attn.o_proj"),
            self.counted(f"{at}post_attention_layernorm.weight"),
            self.linear(f"{at}mlp.gate_proj", f"{at}mlp.up_proj"),
            self.linear(f"{at}mlp.down_proj"),
        )

    def tensor(self, name: str, *, stored: bool = False) -> torch.Tensor:
        if name not in self.where:
            raise ValueError(f"the model lacks {name}")
        found = self.where[name].get_tensor(name)
        return found if stored else found.to(self.dtype)

    def counted(self, name: str) -> torch.Tensor:
        found = self.tensor(name)
        self.bytes += found.nbytes
        return found

    def linear(self, *names: str) -> Linear:
        """Layers that read the same inputs, as one; their outputs follow one another."""
        import torch

        quantized = [f"{name}.weight_packed" in self.where for name in names]
        if any(quantized):
            if not all(quantized):
                raise Unfit(f"{names[0]} is packed and a layer beside it is not, or the other way round")
            self.packed = True
            found, size = self.kernel.linear(join([self._packed(name) for name in names], names[0]), self.dtype)
        else:
            weight = torch.cat([self.tensor(f"{name}.weight") for name in names])
            found, size = plain(weight), weight.nbytes
        self.bytes += size
        biases = [name for name in names if f"{name}.bias" in self.where]
        if not biases:
            return found
        if len(biases) < len(names):
            raise Unfit(f"{names[0]} and the layers beside it have not all a bias")
        bias = torch.cat([self.tensor(f"{name}.bias") for name in names])
        self.bytes += bias.nbytes
        return lambda x: found(x) + bias

    def _packed(self, name: str) -> Packed:
        import torch

        if f"{name}.weight_g_idx" in self.where:
            raise Unfit(f"{name} has groups that do not lie in order; quantize with act_order static")
        words, scale = (self.tensor(f"{name}.{part}", stored=True) for part in ("weight_packed", "weight_scale"))
        outputs, inputs = self.tensor(f"{name}.weight_shape", stored=True).tolist()
        if words.dtype != torch.int32 or tuple(words.shape) != (outputs, inputs // WORD):
            raise Unfit(f"{name} is packed as {list(words.shape)} for {[outputs, inputs]} weights; 4-bit ones are run")
        if scale.ndim != 2 or scale.shape[0] != outputs or inputs % scale.shape[1]:
            raise Unfit(f"{name} has scales of shape {list(scale.shape)} for {[outputs, inputs]} weights")
        zero = f"{name}.weight_zero_point"
        return Packed(words, scale, self.tensor(zero, stored=True) if zero in self.where else None)
