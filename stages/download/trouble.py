"""What a person can make of the hub's refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from download.client import Hub
from download.https import network_trouble
from download.pins import HINT
from download.repo import Repo
from tinfra_worker import BadParam, Fault, Transient

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

ASK = 'set HF_TOKEN to a token of yours (hub → Settings → Access Tokens), and token = secret("HF_TOKEN") in this stage'


@contextmanager
def explained(hub: Hub, repo: Repo, path: str = "", commit: str = "") -> Iterator[None]:
    """Turn what the client raises into a :class:`Fault`.

    No address is quoted: a signed one is as good as a password.
    """
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    host = urlsplit(hub.endpoint).hostname or ""
    try:
        yield
    except HfHubHTTPError as e:
        raise refusal(e, hub, repo, path, commit) from e
    except HFValidationError as e:
        raise BadParam("source", f"{repo.name} cannot be the name of a repository: {e}") from e
    except httpx.TooManyRedirects as e:
        raise BadParam("source", f"{host} redirects without an end") from e
    except httpx.HTTPError as e:
        fault = network_trouble(host, e)
        if isinstance(fault, Transient):
            fault.hint = (
                "is there a network? A proxy is named by HTTPS_PROXY, a mirror of the hub by HF_ENDPOINT"
                " or by endpoint in tinfra.hcl"
            )
        raise fault from e


def refusal(error: HfHubHTTPError, hub: Hub, repo: Repo, path: str, commit: str) -> Fault:
    """A status of 4xx in words; busy and broken servers never come this far."""
    from huggingface_hub import errors

    what, code = f"{repo.kind} {repo.name}", error.response.status_code
    match error:
        case errors.GatedRepoError():
            return gated(hub, repo, code)
        case errors.DisabledRepoError():
            message, hint = f"the hub has disabled {what}", "take another source"
        case errors.RevisionNotFoundError() if commit:
            message, hint = f"{what} has no commit {commit} any more", HINT
        case errors.RevisionNotFoundError():
            message, hint = f"{what} has no revision {repo.revision}", "name a branch, a tag or a commit"
        case errors.EntryNotFoundError():
            message, hint = f"{what} has no {path} at commit {commit}", HINT
        case errors.RepositoryNotFoundError():
            message, hint = missing(hub, what)
        case _:
            message, hint = by_status(hub, what, code, error.server_message or "")
    return BadParam("source", message, hint)


def missing(hub: Hub, what: str) -> tuple[str, str]:
    """The hub tells nobody that a private repository is there."""
    hint = "the token's account must be allowed to read it" if hub.token else f"where it is private: {ASK}"
    where = urlsplit(hub.endpoint).hostname
    return f"there is no {what} on {where}, or it is private", f"is the name right? If so, {hint}"


def by_status(hub: Hub, what: str, code: int, said: str) -> tuple[str, str]:
    words = f": {said}" if said else ""
    if code == 401 and hub.token:
        return f"the hub does not know the token{words}", ASK
    if code in (401, 404):
        return missing(hub, what)
    if code == 403:
        return f"the hub forbids to read {what}{words}", "may the token read it?"
    return f"the hub answers {code} for {what}{words}", ""


def gated(hub: Hub, repo: Repo, code: int) -> Fault:
    """Whoever wants these files must have accepted a licence, and say who they are."""
    page = repo.page(hub.endpoint)
    accept = f"accept the licence of {repo.name} on its page, {page}"
    if not hub.token:
        return BadParam(
            "source", f"{repo.name} is gated: only those who accepted its licence get it", f"{accept}, then {ASK}"
        )
    return BadParam(
        "source",
        f"{repo.name} is gated, and the account of this token has no access to it ({code})",
        f"{accept}, with that account; a fine-grained token must also allow to read gated repositories",
    )
