import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleaved(weight, heads):
    """Rows as llama.cpp keeps them: the two halves of a head's rotation in turns."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(tiny, path, pre="smollm", tokenizer_model="gpt2", quant=None, bos=False, **extra):
    """The tiny model as llama.cpp's converter would write it."""
    config = json.loads((tiny / "model" / "config.json").read_text())
    words = json.loads((tiny / "tokenizer" / "tokenizer.json").read_text())
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(config["num_hidden_layers"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(10000.0)
    w.add_rope_dimension_count(config["head_dim"])
    w.add_vocab_size(config["vocab_size"])
    w.add_string("general.license", "apache-2.0")
    vocab = sorted(words["model"]["vocab"], key=words["model"]["vocab"].get)
    w.add_tokenizer_model(tokenizer_model)
    w.add_tokenizer_pre(pre)
    w.add_token_list(vocab)
    w.add_token_types([3 if i < 3 else 1 for i in range(len(vocab))])
    w.add_token_merges([" ".join(m) for m in words["model"]["merges"]])
    w.add_bos_token_id(extra.get("bos_id", 0))
    w.add_eos_token_id(1)
    w.add_pad_token_id(2)
    w.add_add_bos_token(bos)
    w.add_chat_template("{{ messages[0].content }}")
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for name, tensor in load_file(tiny / "model" / "model.safetensors").items():
        stem = name.removesuffix(".weight")
        if stem.startswith("model.layers."):
            _, _, layer, rest = stem.split(".", 3)
            short = NAMES[rest]
            target = f"blk.{layer}.{short}.weight"
        else:
            short, target = NAMES[stem], NAMES[stem] + ".weight"
        data = tensor.float().numpy()
        if short in heads:
            data = interleaved(data, heads[short])
        if quant and data.ndim == 2:
            w.add_tensor(target, gguf.quants.quantize(data, quant), raw_dtype=quant)
        else:
            w.add_tensor(target, np.ascontiguousarray(data))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


@pytest.fixture
def space(workspace, tiny, tmp_path):
    def make(dtype="float32", **how):
        folder = tmp_path / "gguf"
        folder.mkdir(exist_ok=True)
        write_gguf(tiny, folder / "tiny.gguf", **how)
        made = workspace()
        made.request["params"] = {"file": "**/*.gguf", "dtype": dtype}
        made.add_input("files", folder, "files")
        made.request["outputs"] = {"model": "model/hf", "tokenizer": "tokenizer/hf"}
        return made

    return make


def logits(folder, ids):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits


def test_model_and_tokenizer_come_back(space, tiny, read_tree):
    s, again = space(), space()
    done = s.run()
    assert done.code == 0, done.stderr
    assert again.run().code == 0
    assert read_tree(s.root / "out") == read_tree(again.root / "out")
    assert done.result["labels"] == {"license": "apache-2.0"}
    ids = torch.arange(3, 60)[None]
    assert torch.allclose(logits(s.out("model"), ids), logits(tiny / "model", ids), atol=1e-5)
    config = json.loads((s.out("model") / "config.json").read_text())
    assert "quantization_config" not in config
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (0, 1, 2)
    tokenizer = AutoTokenizer.from_pretrained(s.out("tokenizer"))
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|begin|>", "<|end|>", "<|pad|>")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    original = Tokenizer.from_file(str(tiny / "tokenizer" / "tokenizer.json"))
    text = (tiny / "text" / "text.txt").read_text()
    assert tokenizer.encode(text) == original.encode(text).ids
    assert tokenizer.encode("<|end|>") == [1]


def test_quantized_weights_are_unpacked(space, tiny):
    s = space(quant=gguf.GGMLQuantizationType.Q8_0, dtype="bfloat16")
    done = s.run()
    assert done.code == 0, done.stderr
    weights = load_file(s.out("model") / "model.safetensors")
    plain = load_file(tiny / "model" / "model.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.bfloat16}
    for name, tensor in plain.items():
        assert torch.allclose(weights[name].float(), tensor, atol=2e-3), name


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["In", "Ġ", "2", "0", "0", "6", "Ġit", "'s", "Ċ", "Ċ", "x"]),
        ("gpt-2", ["In", "Ġ2006", "Ġit", "'s", "Ċ", "Ċ", "x"]),
        ("llama-bpe", ["In", "Ġ", "200", "6", "Ġit", "'s", "ĊĊ", "x"]),
        ("qwen2", ["In", "Ġ", "2", "0", "0", "6", "Ġit", "'s", "ĊĊ", "x"]),
    ],
)
def test_pre_tokenizers(space, pre, pieces):
    s = space(pre=pre)
    done = s.run()
    assert done.code == 0, done.stderr
    tokenizer = Tokenizer.from_file(str(s.out("tokenizer") / "tokenizer.json"))
    assert [p for p, _ in tokenizer.pre_tokenizer.pre_tokenize_str("In 2006 it's\n\nx")] == pieces
    text = "Ünï 12345 <|end|> it's\n\n  done"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert AutoTokenizer.from_pretrained(s.out("tokenizer")).encode("abc def 12", add_special_tokens=False) == (
        tokenizer.encode("abc def 12", add_special_tokens=False).ids
    )


def test_begin_token_is_added_where_the_file_says_so(space):
    s = space(bos=True, pre="llama-bpe")
    assert s.run().code == 0
    ids = Tokenizer.from_file(str(s.out("tokenizer") / "tokenizer.json")).encode("abc").ids
    assert ids[0] == 0
    assert ids.count(0) == 1


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"pre": "brand-new"}, "'brand-new'"),
        ({"tokenizer_model": "llama"}, "only byte-level BPE"),
        ({"bos_id": 99999}, "bos token is 99999"),
    ],
)
def test_what_is_not_known_is_refused(space, how, says):
    done = space(**how).run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == "files"
    assert says in done.problem["message"]


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: d[:100], lambda d: b"GGML" + d[4:]])
def test_damaged_file(space, tmp_path, damage):
    s = space()
    path = tmp_path / "gguf" / "tiny.gguf"
    path.write_bytes(damage(path.read_bytes()))
    done = s.run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == "files"


def test_cancel(space):
    done = space().cancel_at(lambda events: any(e["type"] == "progress" for e in events))
    assert done.code == 143
    assert done.result is None
