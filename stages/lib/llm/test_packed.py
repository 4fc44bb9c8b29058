"""Checkpoints of packed 4-bit weights, unpacked or by humming's kernels, against transformers' own unpacking."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from lib.llm.decoder import Unfit, open_decoder


def write_model(folder, dtype):
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "vocab_size": 97}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=8, num_key_value_heads=2, eos_token_id=None))
    for p in model.parameters():
        torch.nn.init.normal_(p, 0 if p.ndim > 1 else 1, 0.1)
    model.to(dtype).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def make(pack, tmp_path_factory):
    """Makes a Llama whose linears are rounded to 4 bits, all but the head."""

    def packed(symmetric, group=32, dtype=torch.float32):
        folder = tmp_path_factory.mktemp("packed")
        return pack(write_model(folder / "plain", dtype), folder / "packed", {"Linear": group}, symmetric, ("lm_head",))

    return packed


@pytest.fixture(scope="module", params=["symmetric", "asymmetric"])
def packed(request, make):
    return make(request.param == "symmetric")


def drawn(batch, length):
    return torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(0))


def whole(folder, ids):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(ids).logits


@pytest.mark.parametrize("backend", ["steady", "generate"])
def test_unpacked_weights_are_transformers_own(packed, backend):
    ids = drawn(2, 12)
    want = whole(packed, ids)
    assert want.abs().max() > 1
    decoder = open_decoder(packed, backend, "float32")
    decoder.open(2, 16)
    got = torch.cat([decoder.feed(part, torch.arange(part.shape[1])) for part in ids.split(5, 1)], 1)
    assert (got.cpu() - want).abs().max() < 1e-4
    assert decoder.weight_bytes == 4 * read_weights(packed)  # nothing is packed any more
    assert ("dequantized" in decoder.engine) == (backend == "steady")


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["steady", "generate"])
def test_they_are_so_on_a_gpu(packed, backend):
    test_unpacked_weights_are_transformers_own(packed, backend)


def read_weights(folder):
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    return model.num_parameters() - model.model.embed_tokens.weight.numel()


def test_unpacked_weights_make_the_same_tokens(packed):
    ids, none = drawn(2, 7), torch.tensor([], dtype=torch.int64)
    made = []
    for backend in ("steady", "generate"):
        decoder = open_decoder(packed, backend, "float32")
        decoder.open(2, 16)
        made.append(decoder.generate(ids, 9, none).tokens.tolist())
    assert made[0] == made[1]


def edit(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


Q = "model.layers.1.self_attn.q_proj"
DAMAGES = {
    "groups that do not lie in order": lambda t: t.update({f"{Q}.weight_g_idx": torch.zeros(256)}),
    "4-bit ones are run": lambda t: t.update({f"{Q}.weight_packed": t[f"{Q}.weight_packed"].repeat(1, 2)}),
    "scales of shape": lambda t: t.update({f"{Q}.weight_scale": t[f"{Q}.weight_scale"][:-1]}),
    "packed in different ways": lambda t: t.update({f"{Q}.weight_scale": t[f"{Q}.weight_scale"].repeat(1, 2)}),
    "lacks model.layers.1.self_attn.q_proj.weight_scale": lambda t: t.pop(f"{Q}.weight_scale"),
}


@pytest.mark.parametrize("says", DAMAGES)
def test_packing_that_is_not_run(make, says):
    with pytest.raises(ValueError, match=says):
        open_decoder(edit(make(True), DAMAGES[says]), "steady", "float32")


def test_humming_needs_a_gpu(packed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unfit, match="needs a GPU"):
        open_decoder(packed, "humming", "bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_humming_computes_with_the_unpacked_weights(make, symmetric, dtype):
    folder = make(symmetric, group=128, dtype=getattr(torch, dtype))
    ids = drawn(8, 12)
    want = whole(folder, ids)
    decoder = open_decoder(folder, "humming", dtype)
    unpacked = open_decoder(folder, "steady", dtype)
    assert "humming-kernels" in decoder.engine
    assert decoder.weight_bytes < 0.35 * unpacked.weight_bytes
    for batch in (1, 8):
        rows = []
        for one in (decoder, unpacked):
            one.open(batch, 32)
            rows.append(torch.cat([one.feed(p, torch.arange(p.shape[1])) for p in ids[:batch].split(5, 1)], 1).float())
        got, same = rows
        # As far from the float32 pass as plain products of the same type are.
        far, bound = ((one.cpu() - want[:batch]).norm() / want[:batch].norm() for one in (got, same))
        assert far < max(2 * bound, 0.01), f"batch {batch}: {far:.4f} off, plain products {bound:.4f}"


@pytest.mark.gpu
@pytest.mark.parametrize("symmetric", [True, False])
def test_humming_in_a_captured_step_is_humming_fed_by_hand(make, symmetric):
    folder = make(symmetric, group=128, dtype=torch.bfloat16)
    decoder = open_decoder(folder, "humming", "bfloat16")
    for batch in (1, 8, 32):
        ids = drawn(batch, 12)
        decoder.open(batch, 32)
        made = decoder.generate(ids, 16, torch.tensor([], dtype=torch.int64)).tokens
        decoder.rewind()
        logits = decoder.feed(torch.cat([ids, made[:, :-1]], 1), torch.arange(11, 27)).float().cpu()
        top = logits.max(-1).values
        chosen = logits.gather(-1, made[..., None])[..., 0]
        assert ((top - chosen) < 0.02 * logits.abs().max()).all()
