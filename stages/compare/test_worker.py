import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compare.divergence import divergence
from lib.score.protocol import canonical

PROTOCOL = {"bos": "none", "dataset": "sha256:d", "max_tokens": 7, "stride": 4, "tokenizer": "sha256:t", "window": 4}
METRICS = {
    "nll_difference", "nll_difference_low", "nll_difference_high", "perplexity_ratio", "perplexity_difference",
    "kl_mean", "kl_p99", "same_top1", "tokens",
}  # fmt: skip


@pytest.fixture
def result(tmp_path):
    """Makes a result/perplexity folder of tokens scored by hand, [scored], and probabilities, [kept, vocabulary]."""
    made = 0

    def make(nll, top, probabilities, kept=None, name="model", **protocol):
        nonlocal made
        made += 1
        folder = tmp_path / f"result{made}"
        folder.mkdir()
        position = np.arange(1, len(nll) + 1, dtype=np.int64)
        tensors = {"nll": np.float32(nll), "position": position, "top": np.int32(top)}
        save_file(tensors, folder / "nll.safetensors")
        if probabilities is not None:
            with np.errstate(divide="ignore"):
                logprobs = np.log(np.asarray(probabilities, np.float64)).astype(np.float16)
            at = position[: len(logprobs)] if kept is None else np.int64(kept)
            save_file({"logprobs": logprobs, "position": at}, folder / "distributions.safetensors")
        (folder / "protocol.json").write_text(canonical(PROTOCOL | protocol))
        measured = {"dtype": "float32", "engine": f"engine of {name}", "model": f"sha256:{name}"}
        (folder / "measured.json").write_text(canonical(measured))
        return folder

    return make


@pytest.fixture
def compare(workspace):
    def make(baseline, candidate):
        made = workspace()
        made.add_input("baseline", baseline, "result/perplexity")
        made.add_input("candidate", candidate, "result/perplexity")
        made.request["outputs"] = {"result": "result/compare"}
        return made

    return make


def test_by_hand(compare, result):
    s = compare(
        result([1, 2, 3, 4], [5, 6, 7, 8], [[0.5, 0.25, 0.25], [0.5, 0.5, 0]], name="fp32"),
        result([1.5, 2, 2.5, 6], [5, 6, 0, 8], [[0.25, 0.25, 0.5], [0.5, 0.5, 0]], name="int4"),
    )
    done = s.run()
    assert done.code == 0, done.stderr
    m = done.metrics
    assert set(m) == METRICS
    assert m["nll_difference"] == 0.5  # (0.5 + 0 − 0.5 + 2) / 4
    assert m["nll_difference_low"] < 0.5 < m["nll_difference_high"]
    assert math.isclose(m["perplexity_ratio"], math.exp(0.5))
    assert math.isclose(m["perplexity_difference"], math.exp(3) - math.exp(2.5))
    assert m["same_top1"] == 0.75
    assert m["tokens"] == 4
    # 0.5·ln(0.5/0.25) + 0.25·ln(0.25/0.5) = 0.25·ln 2, and 0.
    assert math.isclose(m["kl_mean"], 0.125 * math.log(2), rel_tol=1e-3)
    assert math.isclose(m["kl_p99"], 0.99 * 0.25 * math.log(2), rel_tol=1e-3)

    told = json.loads((s.out("result") / "compare.json").read_text())
    assert told["metrics"] == m
    assert told["protocol"] == PROTOCOL
    assert told["baseline"]["engine"] == "engine of fp32"
    assert told["candidate"]["model"] == "sha256:int4"
    tokens = load_file(s.out("result") / "differences.safetensors")
    assert tokens["difference"].tolist() == [0.5, 0, -0.5, 2]
    assert tokens["same_top1"].tolist() == [True, True, False, True]
    assert tokens["position"].tolist() == [1, 2, 3, 4]
    assert tokens["kl_position"].tolist() == [1, 2]
    assert tokens["kl"][1] == 0
    assert {t.dtype for t in tokens.values()} == {np.dtype(n) for n in ("float32", "bool", "int64")}


def drawn(seed, tokens=2000, kept=64, vocabulary=500):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(vocabulary, 0.1), kept) + 1e-9
    return random.gamma(2, 1.5, tokens), random.integers(0, vocabulary, tokens), probabilities


def test_a_model_does_not_differ_from_itself(compare, result):
    folder = result(*drawn(1))
    done = compare(folder, folder).run()
    assert done.code == 0, done.stderr
    ones = {"perplexity_ratio": 1, "same_top1": 1, "tokens": 2000}
    assert done.metrics == {name: ones.get(name, 0) for name in METRICS}


def test_a_known_shift(compare, result):
    nll, top, probabilities = drawn(2)
    nll = np.float32(nll) + np.float32(1)  # within one power of two adding 1/64 is exact
    done = compare(result(nll, top, probabilities), result(np.float64(nll) + 1 / 64, top, probabilities)).run()
    assert done.code == 0, done.stderr
    # A shift of all tokens alike leaves nothing to chance, however much the tokens vary.
    for name in ("nll_difference", "nll_difference_low", "nll_difference_high"):
        assert math.isclose(done.metrics[name], 1 / 64, rel_tol=1e-5)
    assert math.isclose(done.metrics["perplexity_ratio"], math.exp(1 / 64), rel_tol=1e-6)


def test_protocol_of_the_result_is_that_of_its_inputs(compare, result):
    import hashlib

    folder = result(*drawn(3))
    done = compare(folder, folder).run()
    assert done.result["labels"]["protocol"] == hashlib.sha256(canonical(PROTOCOL).encode()).hexdigest()
    assert json.loads(done.result["observed"]["protocol"]) == PROTOCOL


def test_rounding_to_float16_costs_little():
    """The bound: each logarithm moves by 2⁻¹¹ of itself, and the divergence by no more than both sides' mean moves."""
    random = np.random.default_rng(4)
    logits = random.normal(0, 3, (50, 5000))
    for noise in (0, 1e-3, 0.05, 0.5):
        one, two = (
            x - np.log(np.exp(x).sum(1, keepdims=True))
            for x in (logits, logits + random.normal(0, noise, logits.shape))
        )
        exact = (np.exp(one) * (one - two)).sum(1)
        halves = one.astype(np.float16), two.astype(np.float16)
        got = divergence(*halves)
        # Exactly that of the rounded distributions, whose sums are not 1 any more.
        p, q = (np.exp(np.float64(h)) / np.exp(np.float64(h)).sum(1, keepdims=True) for h in halves)
        assert np.allclose(got, (p * np.log(p / q)).sum(1), rtol=1e-9, atol=1e-12)
        bound = 2 * 2**-11 * (np.exp(one) * (abs(one) + abs(two))).sum(1)
        assert (abs(got - exact) <= bound).all()
        assert abs(got - exact).max() < 2e-3  # nats; in fact roundings cancel out, and far less is left
        assert abs(got.mean() - exact.mean()) < 1e-4
        assert (got >= 0).all()


def test_no_probability_in_either(compare, result):
    with np.errstate(divide="ignore"):
        logprobs = np.log(np.float16([[0.5, 0.5, 0]]))
    assert divergence(logprobs, logprobs).tolist() == [0]
    assert divergence(logprobs, np.log(np.float16([[0.25, 0.25, 0.5]]))) == pytest.approx(math.log(2), rel=1e-3)
    assert divergence(np.log(np.float16([[0.25, 0.25, 0.5]])), logprobs) == math.inf


def refused(done, port, *says):
    assert done.code == 11, done.stderr
    assert done.problem["input"] == port
    for words in says:
        assert words in done.problem["message"] + done.problem.get("hint", "")


def test_another_protocol(compare, result):
    found = drawn(5)
    done = compare(result(*found), result(*found, stride=2, dataset="sha256:e")).run()
    refused(done, "candidate", 'dataset is "sha256:d" and "sha256:e"', "stride is 4 and 2")


def test_a_field_that_one_protocol_lacks(compare, result):
    found = drawn(5)
    done = compare(result(*found, dtype="float32"), result(*found)).run()
    refused(done, "candidate", 'dtype is "float32" and absent')


def test_no_distributions(compare, result):
    nll, top, probabilities = drawn(6)
    done = compare(result(nll, top, probabilities), result(nll, top, None)).run()
    refused(done, "candidate", "no distributions", "set distributions above 0")


def test_other_vocabulary(compare, result):
    nll, top, probabilities = drawn(7)
    done = compare(result(nll, top, probabilities), result(nll, top, probabilities[:, :-1])).run()
    refused(done, "candidate", "500 and 499")


def test_other_number_of_distributions(compare, result):
    nll, top, probabilities = drawn(8)
    done = compare(result(nll, top, probabilities), result(nll, top, probabilities[:-1])).run()
    refused(done, "candidate", "64 and 63", "the same distributions")


def test_other_tokens(compare, result):
    nll, top, probabilities = drawn(9)
    done = compare(result(nll, top, probabilities), result(nll[:-1], top[:-1], probabilities)).run()
    refused(done, "candidate", "other tokens")
