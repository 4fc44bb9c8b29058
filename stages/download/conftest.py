"""What all downloads are tried with: a certificate authority of the tests' own, and a worker that trusts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
import trustme

from download.tests.hub_server import FakeHub

if TYPE_CHECKING:
    from conftest import Outcome, Workspace


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """An authority whose certificate also lies in the file `path`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path_factory.mktemp("ca") / "ca.pem")
    made.path = tmp_path_factory.getbasetemp() / "ca0" / "ca.pem"
    return made


@pytest.fixture
def job(workspace: Callable[..., Workspace], authority: trustme.CA) -> Callable[..., Workspace]:
    """Makes workspaces of a download of a source; further words go into the request."""

    def make(source: str, allow_pickle: bool = False, **request: object) -> Workspace:
        made = workspace()
        made.request["params"] = {"allow_pickle": allow_pickle}
        made.request["source"] = source
        made.request["outputs"] = {"files": "files", "model": "model/hf", "tokenizer": "tokenizer/hf"}
        made.request.update(request)
        run = made.run

        def trusting(env: Mapping[str, str] | None = None) -> Outcome:
            return run({"SSL_CERT_FILE": str(authority.path), **(env or {})})

        made.run, made.authority = trusting, authority.path
        return made

    return make


@pytest.fixture
def hub(authority: trustme.CA) -> Iterator[FakeHub]:
    """A hub on loopback, empty."""
    made = FakeHub(authority)
    yield made
    made.close()


@pytest.fixture
def get(job: Callable[..., Workspace], hub: FakeHub) -> Callable[..., Workspace]:
    """Makes workspaces of a download that asks the tests' hub; `env` is what the person's shell holds."""

    def make(
        source: str, allow_pickle: bool = False, env: Mapping[str, str] | None = None, **request: object
    ) -> Workspace:
        space = job(source, allow_pickle, **request)
        # The tests' hub offers xet where a test says so; no file of a test is in its storage by accident.
        shell = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms", **(env or {})}
        run, start = space.run, space.start
        space.run = lambda env=None: run({**shell, **(env or {})})
        space.begin = lambda: start({**shell, "SSL_CERT_FILE": str(space.authority)})
        space.shell = shell
        return space

    return make
