"""What all downloads are tried with: a certificate authority of the tests' own, and a worker that trusts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest
import trustme

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

        made.run = trusting
        return made

    return make
