import pytest

from contest.asked import Asked, Entry
from contest.entrant import Entrant
from contest.heat import Heat
from contest.pace import Cost, Pace, total
from contest.saturation import saturate
from lib.speed.samples import Run


@pytest.mark.parametrize(
    ("limit", "later", "repeats"),
    [
        (0, [(20, 10)] * 5, 5),  # no limit
        (1000, [], 5),
        (40, [], 5),  # four more rounds of 10 s
        (39, [], 4),
        (9, [], 1),
        (-5, [], 1),  # one is made already
        (40 + 2 * (20 + 50), [(20, 10)] * 2, 5),
        (40 + 2 * (20 + 50) - 1, [(20, 10)] * 2, 4),  # dropped here and in those to come alike
        (10 + 2 * (20 + 20), [(20, 10)] * 2, 2),
        (10 + (20 + 20) + (5 + 2 * 3), [(20, 10), (5, 3)], 2),  # each as slow as those who take part in it
    ],
)
def test_rounds_that_a_limit_leaves(limit, later, repeats):
    pace = Pace(limit=limit and limit + 100, started=50, clock=lambda: 150)
    assert pace.repeats(5, seconds=10, later=[Cost(*one) for one in later]) == repeats


def test_what_a_later_batch_costs():
    """What compiles for a minute and takes no part later costs nothing then."""
    known = {"slow": Cost(60, 5), "quick": Cost(2, 1)}
    assert total(known, ["quick"]) == Cost(2, 1)
    assert total(known, ["slow", "quick"]) == Cost(62, 6)
    assert total(known, ["quick", "unknown"]) == Cost(2 + 31, 1 + 3)  # as all on average
    assert total({}, ["unknown"]) == Cost(0, 0)


def test_who_takes_no_part_later_takes_no_rounds_away(space, hold, told):
    """The clock moves by what decoders do: `slow` compiles for 60 s, and runs at batch 1 alone."""
    now = [0.0]

    class Clocked(told):
        def generate(self, ids, tokens, bar):
            now[0] += 60 if self.engine == "slow" and not self.calls else 1
            return super().generate(ids, tokens, bar)

    made = space(
        [("slow", "base", "generate"), ("quick", "base", "steady")],
        batches=[1, 2], only={"slow": [1]}, repeats=3, limit_seconds=71,
    )  # fmt: skip
    _, said = hold(made, {"generate": Clocked("slow"), "steady": Clocked("quick")}, clock=lambda: now[0])
    # 61 s of warming up and three rounds of 2; then 1 s, and three rounds of 1.
    assert [len(h["order"]) for h in said["heats"]] == [3, 3]
    assert now == [71]


def test_time_is_kept_for_a_doubled_batch_only_where_there_can_be_one(space, hold, told):
    now = [0.0]

    class Clocked(told):
        def generate(self, ids, tokens, bar):
            now[0] += 1
            return super().generate(ids, tokens, bar)

    made = space([("ours", "base", "steady")], repeats=3, limit_seconds=8, saturation=3)
    _, said = hold(made, {"generate": told("plain"), "steady": Clocked("ours")}, clock=lambda: now[0])
    assert [len(h["order"]) for h in said["heats"]] == [3, 3]  # each of a warm-up and three rounds


def test_fewer_rounds_are_told(space, hold, told):
    """The clock moves by the seconds that runs are told to take."""
    made = space([("plain", "base", "generate")], batches=[1, 2], repeats=5, limit_seconds=1e-9)
    job, said = hold(made, {"generate": told("plain")})
    assert [len(h["order"]) for h in said["heats"]] == [1, 1]
    assert job.result.metrics["repeats"] == 1
    warned = [e["message"] for e in made.events() if e.get("level") == "warning"]
    assert "limit_seconds: 1 of 5 rounds at batch 1" in warned
    assert "limit_seconds: 1 of 5 rounds at batch 2" in warned


@pytest.fixture
def ended(space, hold, told):
    def run(limit=0, saturation=64, ours=None, **limits):
        """What became of the one entry by `steady`, and at which batches it ran beyond those asked for."""
        ours = ours or told("ours", **limits)
        made = space(
            [("plain", "base", "generate"), ("ours", "base", "steady")],
            saturation=saturation, limit_seconds=limit, repeats=1,
        )  # fmt: skip
        _, said = hold(made, {"generate": told("plain"), "steady": ours})
        return said["saturation"], [(h["batch"], sorted(h["entries"])) for h in said["heats"][2:]]

    return run


def test_saturation_ends_with_the_sizes_asked_for(ended):
    found, heats = ended(saturation=8)
    assert found == {"ours": {"batch": 8, "tokens_per_second": pytest.approx(80), "ended": "batches end at 8"}}
    assert heats == [(4, ["ours"]), (8, ["ours"])]


def test_saturation_ends_with_memory(ended):
    found, heats = ended(fits=4)
    assert found["ours"]["batch"] == 4
    assert found["ours"]["ended"].startswith("out of memory")
    assert heats == [(4, ["ours"]), (8, [])]


def test_saturation_ends_with_what_an_engine_was_built_for(ended):
    found, _ = ended(largest=4)
    assert found["ours"] == {
        "batch": 4, "tokens_per_second": pytest.approx(40), "ended": "unfit: built for 4 rows",
    }  # fmt: skip


def test_saturation_is_dropped_before_rounds_are(ended):
    found, heats = ended(limit=1e-9)
    assert found["ours"]["ended"] == "limit_seconds = 1e-09"
    assert heats == []


def test_saturation_ends_without_a_gain(told):
    asked = Asked(
        (Entry("a", "m", "steady", "float32", (8,)),), (8,), 1, 3, 1, 1, 0, 1024, 0.25, 0
    )  # fmt: skip

    one = Entrant(asked.entries[0], None, told("ours"), 0, None)

    def heat(batch, step):
        return Heat(batch, runs={"a": [Run(1, [step, step], [])]})

    steps = {16: 1.1, 32: 2.15, 64: 9}  # 8/1 = 8 tokens a second, 14.5, 14.9
    heats = [heat(8, 1.0)]
    found = saturate(asked, [one], heats, Pace(0, 0), lambda batch, _racing: heat(batch, steps[batch]))
    assert found["a"] == {
        "batch": 32, "tokens_per_second": pytest.approx(32 / 2.15), "ended": "twice the batch brings 2.3 %",
    }  # fmt: skip
    assert [h.batch for h in heats] == [8, 16, 32]


def test_an_error_at_the_limit_leaves_the_other_figures(ended, told):
    """Not so at the batches that were asked for: see test_another_error_ends_it."""

    ours = told("ours")

    def fail():
        if ours.calls[-1] == 4:
            raise RuntimeError("illegal memory access")

    ours.on_generate = fail
    found, heats = ended(ours=ours)
    assert found["ours"]["ended"] == "error at batch 4: RuntimeError: illegal memory access"
    assert found["ours"]["batch"] == 2
    assert heats == []


@pytest.mark.parametrize(("free", "room"), [(11_000, True), (10_999, False), (None, True)])
def test_room_for_twice_the_batch(told, free, room):
    """Of the 17 GB at its peak 10 are weights; it holds 3, which it gives back: 14 must be there."""
    one = Entrant(None, None, told("ours"), 0, load_bytes=10_000, held=3_000)
    assert one.has_room(17_000, free) is room
    assert one.has_room(None, free)


def test_bytes_at_the_peak(told):
    one = Entrant(None, None, told("ours"), 0, load_bytes=10_000, held=3_000)
    assert one.peak(free=9_000, left=5_000) == 17_000
    assert one.peak(None, None) is None
