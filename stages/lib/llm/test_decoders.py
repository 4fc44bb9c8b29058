"""What every decoder must do alike, on each device, against transformers' pass over whole rows on the CPU."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from lib.llm.decoder import Unfit, open_decoder

NONE = torch.tensor([], dtype=torch.int64)


def make(folder, kind=LlamaForCausalLM, config=LlamaConfig, **sizes):
    torch.manual_seed(0)
    asked = {
        "vocab_size": 97,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "eos_token_id": None,
    }
    model = kind(config(**asked | sizes))
    for p in model.parameters():
        torch.nn.init.normal_(p, 0 if p.ndim > 1 else 1, 0.15)
    model.save_pretrained(folder)
    return folder


MODELS = {
    "grouped": {},
    "tied, one head each": {"tie_word_embeddings": True, "num_key_value_heads": 8, "head_dim": 24},
    "biases, llama3 positions": {
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "mistral": {"kind": MistralForCausalLM, "config": MistralConfig, "sliding_window": None},
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp("model"), **MODELS[request.param])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make(tmp_path_factory.mktemp("model"))


BACKENDS = ["steady", "generate", "generate_static", "onnxruntime"]


@pytest.fixture(scope="module")
def graphs(graph_of):
    """The graph of a checkpoint in a type, exported once."""
    made = {}

    def make(folder, dtype):
        if (folder, dtype) not in made:
            made[folder, dtype] = graph_of(folder, dtype)
        return made[folder, dtype]

    return make


def loader(backend, graphs, place="cpu"):
    def load(folder, dtype="float32"):
        decoder = open_decoder(graphs(folder, dtype) if backend == "onnxruntime" else folder, backend, dtype)
        assert decoder.device.type == place
        return decoder

    return load


@pytest.fixture(params=BACKENDS)
def opened(request, graphs):
    return loader(request.param, graphs)


def drawn(batch, length, seed=0):
    return torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(seed))


def whole(folder, ids):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits


def close(got, want, bound=1e-4):
    return (got.float().cpu() - want).abs().max() < bound


def test_chunks_and_steps_are_the_whole_pass(opened, folder):
    decoder = opened(folder)
    ids = drawn(3, 18)
    want = whole(folder, ids)
    decoder.open(3, 24)
    at = 0
    for size in (5, 1, 1, 7, 1, 3):
        got = decoder.feed(ids[:, at : at + size], torch.arange(size))
        assert got.shape == (3, size, 97)
        assert close(got, want[:, at : at + size])
        at += size


def test_rows_choose_positions(opened, plain):
    decoder = opened(plain)
    ids = drawn(2, 9)
    decoder.open(2, 16)
    assert close(decoder.feed(ids, torch.tensor([8, 2])), whole(plain, ids)[:, [8, 2]])


def test_a_model_that_gives_all_logits_only(plain):
    decoder = open_decoder(plain, "generate", "float32")
    decoder._picks = False
    test_rows_choose_positions(lambda folder: decoder, plain)


def test_what_it_says_of_itself(opened, plain):
    decoder = opened(plain)
    assert (decoder.vocabulary, decoder.dtype) == (97, "float32")
    assert f"{decoder.device.type} float32" in decoder.engine
    model = AutoModelForCausalLM.from_pretrained(plain)
    assert decoder.weight_bytes == 4 * (model.num_parameters() - 97 * 64)


def test_a_tied_head_is_read_though_it_is_the_embedding(opened, tmp_path):
    tied = make(tmp_path, tie_word_embeddings=True)
    assert opened(tied).weight_bytes == 4 * AutoModelForCausalLM.from_pretrained(tied).num_parameters()


def test_rewinding_forgets(opened, plain):
    decoder = opened(plain)
    ids, other = drawn(2, 12), drawn(2, 12, seed=1)
    decoder.open(2, 16)
    decoder.feed(other, torch.tensor([11]))
    decoder.rewind()
    decoder.feed(ids[:, :8], torch.tensor([7]))
    decoder.feed(other[:, :4], torch.tensor([3]))
    decoder.rewind(8)
    assert close(decoder.feed(ids[:, 8:], torch.arange(4)), whole(plain, ids)[:, 8:])
    decoder.open(3, 12)
    assert close(decoder.feed(ids[[0, 1, 0]], torch.arange(12))[:2], whole(plain, ids))


@pytest.mark.parametrize("backend", ["steady", "onnxruntime"])
def test_rows_of_different_lengths(plain, graphs, backend):
    rows_of_different_lengths(loader(backend, graphs)(plain), plain)


def rows_of_different_lengths(decoder, plain):
    ids = drawn(3, 18)
    want = whole(plain, ids)
    decoder.open(3, 24)
    decoder.feed(drawn(3, 24, seed=5), torch.tensor([0]))  # what a row does not hold must not be seen
    decoder.rewind()
    at = torch.zeros(3, dtype=torch.int64)
    for keep in ([3, 5, 7], [1, 1, 1], [2, 4, 3], [1, 1, 1]):
        size = max(keep)
        rows = [torch.cat([ids[b, at[b] : at[b] + k], drawn(1, size)[0]])[:size] for b, k in enumerate(keep)]
        got = decoder.feed(torch.stack(rows), torch.arange(size))
        for b, k in enumerate(keep):
            assert close(got[b, :k], want[b, at[b] : at[b] + k])
        at += torch.tensor(keep)
        decoder.rewind(at)


def greedy(folder, ids, tokens, bar):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for _ in range(tokens):
        with torch.no_grad():
            logits = model(ids).logits[:, -1]
        logits[:, bar] = float("-inf")
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids[:, -tokens:]


def test_tokens_are_those_of_greedy_search(opened, folder):
    decoder = opened(folder)
    ids = drawn(2, 7)
    decoder.open(2, 20)
    decoder.feed(drawn(2, 20, seed=3), torch.tensor([0]))  # forgotten
    want = greedy(folder, ids, 12, [])
    for _ in range(2):
        made = decoder.generate(ids, 12, NONE)
        assert made.tokens.dtype == torch.int64
        assert made.tokens.tolist() == want.tolist()
        assert len(made.step_seconds) == 11
        assert min(made.first_seconds, *made.step_seconds) > 0
    bar = want[:, 0].unique()
    assert decoder.generate(ids, 12, bar).tokens.tolist() == greedy(folder, ids, 12, bar).tolist()
    assert decoder.generate(ids, 1, NONE).step_seconds == []


def test_what_does_not_fit(opened, plain):
    decoder = opened(plain)
    with pytest.raises(Unfit, match="nothing is opened"):
        decoder.feed(drawn(1, 1), torch.tensor([0]))
    with pytest.raises(Unfit, match="64"):
        decoder.open(1, 65)
    decoder.open(2, 10)
    with pytest.raises(Unfit, match="2 are opened"):
        decoder.feed(drawn(3, 1), torch.tensor([0]))
    decoder.feed(drawn(2, 8), torch.tensor([0]))
    with pytest.raises(Unfit, match="of 10"):
        decoder.feed(drawn(2, 3), torch.tensor([0]))
    with pytest.raises(Unfit, match="of 10"):
        decoder.generate(drawn(2, 3), 8, NONE)


def test_other_types(opened, plain):
    decoder = opened(plain, "float16")
    decoder.open(1, 12)
    logits = decoder.feed(drawn(1, 12), torch.arange(12))
    assert (decoder.dtype, logits.dtype) == ("float16", torch.float16)
    want = whole(plain, drawn(1, 12))
    assert close(logits, want, 0.02 * want.abs().max())


def edit(folder, tmp_path, name="config.json", **changes):
    shutil.copytree(folder, tmp_path / "edited")
    path = tmp_path / "edited" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return tmp_path / "edited"


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["GPT2LMHeadModel"]},
        {"hidden_act": "gelu"},
        {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 16},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"num_hidden_layers": 3},
        {"vocab_size": 98},
    ],
)
def test_models_that_are_not_run_steadily(plain, tmp_path, changes):
    with pytest.raises(ValueError, match=r"runs?|lacks|shape"):
        open_decoder(edit(plain, tmp_path, **changes), "steady", "float32")


def test_a_graph_of_another_type(plain, graphs):
    with pytest.raises(Unfit, match="float16"):
        open_decoder(graphs(plain, "float32"), "onnxruntime", "float16")
    with pytest.raises(Unfit, match="bfloat16"):
        open_decoder(graphs(plain, "bfloat16"), "onnxruntime", "bfloat16")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "format 1"),
        ({"layers": "2"}, "layers"),
        ({"layers": True}, "layers"),
        ({"ends": [97]}, "ends"),
        ({"layers": 3}, "cache.2.key"),
    ],
)
def test_graphs_that_are_not_what_they_say(plain, graphs, tmp_path, changes, says):
    folder = edit(graphs(plain, "float32"), tmp_path, "decoder.json", **changes)
    with pytest.raises(ValueError, match=says):
        open_decoder(folder, "onnxruntime", "float32")


def test_half_a_graph(plain, graphs, tmp_path):
    folder = edit(graphs(plain, "float32"), tmp_path, "decoder.json")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot be loaded"):
        open_decoder(folder, "onnxruntime", "float32")


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["steady", "generate", "generate_static"])
def test_on_a_gpu(plain, backend):
    """All the above, where steps are captured and compiled. One model: compiling takes its time."""
    load = loader(backend, None, "cuda")
    for check in (
        test_chunks_and_steps_are_the_whole_pass,
        test_rows_choose_positions,
        test_what_it_says_of_itself,
        test_rewinding_forgets,
        test_tokens_are_those_of_greedy_search,
        test_what_does_not_fit,
        test_other_types,
    ):
        check(load, plain)
    if backend == "steady":
        rows_of_different_lengths(load(plain), plain)
