from types import SimpleNamespace

from lib.trt import library, phases
from lib.trt.phases import Phase, Phases


def test_each_stands_in_its_parent():
    told = Phases()
    for name, parent in (("a", None), ("b", "a"), ("c", "b")):
        told.begin(name, parent)
    told.end("c")
    told.begin("c", "b")  # a name may come again
    for name in ("c", "b", "a", "never begun"):
        told.end(name)
    told.begin("d", None)
    told.begin("e", "not open")
    assert [phase.name for phase in told.outer] == ["a", "d", "e"]
    assert [phase.name for phase in told.outer[0].within[0].within] == ["c", "c"]


def test_long_ones_are_shown_and_short_ones_added_up():
    inner = [Phase("t", 103, 60), *(Phase("s", 163 + n, 0.25) for n in range(4)), Phase("u", 170, 0.5)]
    text = phases.show([Phase("build", 102.5, 80, [Phase("costs", 103, 70, inner)]), Phase("end", 183, 0.1)], 100)
    assert text == [
        "     2.5 s     80.0 s  build",
        "     3.0 s     70.0 s    costs",
        "     3.0 s     60.0 s      t",
        "    70.0 s      0.5 s      u",
        "    63.0 s      1.0 s      4 shorter ones",
    ]


def test_the_logger_keeps_when_it_was_told():
    severity = SimpleNamespace(VERBOSE="Severity.VERBOSE")
    trt = SimpleNamespace(ILogger=type("ILogger", (), {"Severity": severity, "__init__": lambda self: None}))
    logger = library.make_logger(trt)
    logger.log("Severity.WARNING", "w")
    logger.log(severity.VERBOSE, "v")
    logger.log("Severity.INFO", "i")
    assert logger.lines == ["[WARNING] w", "[INFO] i"]
    assert 0 <= logger.times[0] <= logger.times[1]
