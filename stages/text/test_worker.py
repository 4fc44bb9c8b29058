import bz2

import pytest

LONG = "It is a plain sentence with a [[Link|linked word]] and '''bold''' text, long enough to be kept as prose. "


def dump(*pages):
    body = "".join(
        f"<page><title>{t}</title><ns>{ns}</ns>{extra}<revision><text>{text}</text></revision></page>"
        for t, ns, extra, text in pages
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{body}</mediawiki>'.encode()


@pytest.fixture
def space(workspace, tmp_path):
    def make(content, name="x-pages-articles.xml.bz2", min_chars=80, every=3):
        folder = tmp_path / "dump"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        made = workspace()
        made.request["params"] = {"file": "**/*pages-articles*.bz2", "min_chars": min_chars, "every": every}
        made.add_input("files", folder, "files")
        made.request["outputs"] = {"calibration": "dataset/text", "heldout": "dataset/text"}
        return made

    return make


def articles(n):
    return [(f"Title {i}", 0, "", LONG + f"Number {i}.") for i in range(n)]


def test_articles_are_dealt_out(space, read_tree):
    first, second = space(bz2.compress(dump(*articles(7)))), space(bz2.compress(dump(*articles(7))))
    done = first.run()
    assert done.code == 0, done.stderr
    assert second.run().code == 0
    assert read_tree(first.root / "out") == read_tree(second.root / "out")
    held = (first.out("heldout") / "heldout.txt").read_text()
    rest = (first.out("calibration") / "calibration.txt").read_text()
    assert [f"Title {i} " in held for i in range(7)] == [True, False, False, True, False, False, True]
    assert [f"Title {i} " in rest for i in range(7)] == [False, True, True, False, True, True, False]
    assert done.metrics["heldout_articles"] == 3
    assert done.metrics["calibration_articles"] == 4
    assert done.metrics["heldout_bytes"] == len(held.encode())
    assert done.result["labels"]["license"] == "CC-BY-SA-3.0"


def test_markup_goes(space):
    markup = (
        "{{Infobox|{{nested|x}}}}\n== History ==\n"
        + LONG
        + "&lt;ref name=a&gt;A book&lt;/ref&gt;&lt;!-- hidden --&gt;See [http://example.org the site].\n"
        + "* a list item that is long enough to be kept if only it were no list item, which it is, so it goes\n"
        + "short\n{| class=x\n| cell\n|}\n[[File:x.jpg|thumb|A [[linked]] caption]]\n"
        + "== References ==\n"
        + LONG.replace("plain", "forbidden")
    )
    s = space(bz2.compress(dump(("A", 0, "", markup), *articles(2))))
    assert s.run().code == 0
    text = (s.out("heldout") / "heldout.txt").read_text()
    assert text.startswith(
        " = A = \n\nIt is a plain sentence with a linked word and bold text, long enough to be kept as prose. "
        "See the site.\n"
    )
    for gone in ("forbidden", "Infobox", "nested", "A book", "hidden", "list item", "cell", "caption", "short", "http"):
        assert gone not in text


def test_only_articles(space):
    other = [
        ("Talk", 1, "", LONG),
        ("Moved", 0, '<redirect title="x" />', LONG),
        ("Old", 0, "", "#REDIRECT [[X]] " + LONG),
    ]
    s = space(bz2.compress(dump(*other, *articles(2))))
    done = s.run()
    assert done.code == 0, done.stderr
    assert done.metrics["heldout_articles"] + done.metrics["calibration_articles"] == 2


@pytest.mark.parametrize(
    "content",
    [
        b"no bzip2",
        bz2.compress(dump(*articles(9)))[:-20],
        bz2.compress(b"<mediawiki><page>"),
        bz2.compress(dump()),
        bz2.compress(dump(("A", 0, "", "too short"))),
    ],
)
def test_damaged_dump(space, content):
    done = space(content).run()
    assert done.code == 11, done.stderr
    assert done.problem["input"] == "files"


def test_no_dump_or_two(space):
    done = space(b"x", name="readme.md").run()
    assert done.code == 11
    assert "readme.md" in done.problem["message"]
    assert "`file`" in done.problem["hint"]


def test_cancel(space):
    s = space(bz2.compress(dump(*articles(40000))))
    done = s.cancel_at(lambda events: any(e["type"] == "progress" for e in events))
    assert done.code == 143
    assert done.result is None
