"""file: sources: a folder or a file below the recipe's."""

import os

import pytest

BODY = os.urandom(300_000)


@pytest.fixture
def recipes(tmp_path):
    folder = tmp_path / "recipes"
    (folder / "toy" / "sub").mkdir(parents=True)
    (folder / "toy" / "config.json").write_text("{}")
    (folder / "toy" / "model.safetensors").write_bytes(BODY)
    (folder / "toy" / "tokenizer.json").write_text("{}")
    (folder / "toy" / "sub" / "a.txt").write_text("a")
    (tmp_path / "outside.txt").write_text("secret")
    return folder


def test_folder(job, recipes, read_tree):
    space = job("file:toy", recipe_dir=str(recipes))
    done = space.run()
    assert done.code == 0, done.stderr
    assert read_tree(space.out("files")) == read_tree(recipes / "toy")
    assert set(read_tree(space.out("model"))) == {"config.json", "model.safetensors"}
    assert set(read_tree(space.out("tokenizer"))) == {"tokenizer.json"}


@pytest.mark.parametrize("shape", ["file:{}/toy/sub/a.txt", "file://{}/toy/sub/a.txt", "file:toy/sub/a.txt"])
def test_file(job, recipes, shape, read_tree):
    space = job(shape.format(recipes), recipe_dir=str(recipes))
    assert space.run().code == 0
    assert read_tree(space.out("files")) == {"a.txt": b"a"}
    assert not list(space.out("model").iterdir())


@pytest.mark.parametrize("rest", ["../outside.txt", "toy/../../outside.txt", "link.txt", "nothing", "linked", ""])
def test_files_that_are_not_below_the_recipe(job, recipes, rest):
    (recipes / "link.txt").symlink_to(recipes.parent / "outside.txt")
    (recipes / "linked").mkdir()
    (recipes / "linked" / "l.txt").symlink_to(recipes.parent / "outside.txt")
    space = job("file:" + rest, recipe_dir=str(recipes))
    done = space.run()
    assert done.code == 10, done.stderr
    assert done.problem["param"] == "source"
    assert not list(space.out("files").iterdir())
