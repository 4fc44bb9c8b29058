import re
import signal
from types import SimpleNamespace

import pytest

from lib.trt import build
from lib.trt.network import Refused
from lib.trt.profiles import plan
from tinfra_worker import Cancelled, Resources

NODE = "{ForeignNode[a...b]}"
PROFILES = plan([(2, 16)], 8, 0)


class Config:
    """What the code asks of an IBuilderConfig."""

    def __init__(self, accepts=True):
        self.accepts, self.cache, self.profiles = accepts, None, []

    def create_timing_cache(self, data):
        return data if data != b"broken" else None

    def set_timing_cache(self, cache, _ignore):
        if cache and not self.accepts:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: self.cache + b"+new")

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    """An IBuilder that tells of two phases, one inside the other, and builds b"engine" unless it is stopped."""

    def __init__(self, config, logger, says=()):
        self.config, self.logger, self.says = config, logger, says

    def create_builder_config(self):
        return self.config

    def create_optimization_profile(self):
        made = SimpleNamespace(shapes={})
        made.set_shape = lambda name, *shapes: made.shapes.__setitem__(name, shapes)
        return made

    def build_serialized_network(self, _network, config):
        told = config.progress_monitor
        told.phase_start("Building", None, 2)
        told.phase_start("Timing", "Building", 5)
        going = [told.step_complete("Building", 0), told.step_complete("Timing", 4), told.step_complete("Building", 1)]
        told.phase_finish("Timing")
        told.phase_finish("Building")
        self.logger.lines += self.says
        return b"engine" if all(going) and not self.says else None


TRT = SimpleNamespace(
    ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"), IProgressMonitor=type("IProgressMonitor", (), {})
)


def run(timing=b"", told=lambda *_: None, config=None, says=()):
    config, logger = config or Config(), SimpleNamespace(lines=[])
    inputs = {"input_ids": (-1, -1), "lengths": (-1,), "rows": (-1,), "cache.0.key": (-1, 2, -1, 4)}
    parsed = SimpleNamespace(builder=Builder(config, logger, says), network=None, inputs=lambda: inputs)
    return build.build(TRT, logger, parsed, build.Wanted(PROFILES, 3, timing), told), config


def test_every_input_of_every_profile_has_its_shapes():
    built, config = run()
    assert built.plan == b"engine"
    assert config.builder_optimization_level == 3
    fixed = (2, 2, 16, 4)
    assert config.profiles[0].shapes["cache.0.key"] == (fixed, fixed, fixed)
    assert config.profiles[1].shapes["cache.0.key"] == ((1, 2, 16, 4), fixed, fixed)
    assert config.profiles[1].shapes["input_ids"] == ((1, 1), (2, 8), (2, 8))


def test_timings_are_read_and_handed_on():
    assert run(b"old")[0].timing == b"old+new"
    assert run(b"old")[0].reused
    assert not run()[0].reused


@pytest.mark.parametrize(("timing", "config"), [(b"broken", Config()), (b"old", Config(accepts=False))])
def test_timings_of_another_machine_are_left_out(timing, config):
    built, _ = run(timing, config=config)
    assert not built.reused
    assert built.timing == b"+new"


def test_only_outer_phases_are_told_of():
    told = []
    run(told=lambda *a: told.append(a))
    assert told == [("Building", 1, 2), ("Building", 2, 2)]


def test_phases_are_kept_one_inside_another():
    (outer,) = run()[0].phases
    assert (outer.name, [inner.name for inner in outer.within]) == ("Building", ["Timing"])
    assert 0 <= outer.within[0].seconds <= outer.seconds


def test_a_cancel_ends_the_build_and_is_raised_behind_it():
    def told(*_):
        raise Cancelled

    with pytest.raises(Cancelled):
        run(told=told)


def test_a_signal_that_comes_during_a_callback_ends_the_build_and_is_heeded_behind_it():
    """The library would swallow what is raised in a callback, or take it for a build that failed."""

    class Struck(Builder):
        def build_serialized_network(self, network, config):
            signal.raise_signal(signal.SIGTERM)
            self.built = super().build_serialized_network(network, config)
            return self.built

    def cancel(*_):
        raise Cancelled

    config = Config()
    builder = Struck(config, SimpleNamespace(lines=[]))
    parsed = SimpleNamespace(builder=builder, network=None, inputs=dict)
    before = signal.signal(signal.SIGTERM, cancel)
    try:
        with pytest.raises(Cancelled):
            build.build(TRT, builder.logger, parsed, build.Wanted(PROFILES, 3, b""), lambda *_: None)
        assert builder.built is None
        assert signal.getsignal(signal.SIGTERM) is cancel
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_profile_that_is_refused():
    config = Config()
    config.add_optimization_profile = lambda _: -1
    with pytest.raises(Refused, match="refuses the profile decode: batch 2, tokens 1, length 16, rows 1"):
        run(config=config)


@pytest.mark.parametrize(
    ("says", "kind", "text"),
    [
        (["[ERROR] Cuda Runtime (out of memory)"], Resources, "out of memory"),
        (
            [f"[ERROR] Could not find any implementation for node {NODE}."],
            Refused,
            re.escape(f"compute {NODE}") + "$",
        ),
        (["[WARNING] w", "[ERROR] last words"], Refused, "no engine: .*last words"),
        (["[WARNING] w"], Refused, "does not say why"),
    ],
)
def test_a_failure_is_told_by_what_was_said(says, kind, text):
    with pytest.raises(kind, match=text):
        run(says=says)
