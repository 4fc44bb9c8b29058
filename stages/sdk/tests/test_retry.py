import pytest

from tinfra_worker import Transient, retry


def failing(times, retry_after=None):
    left = times

    def attempt():
        nonlocal left
        if left:
            left -= 1
            raise Transient("503", retry_after=retry_after)
        return "done"

    return attempt


def test_waits_twice_as_long_each_time():
    slept, said = [], []
    assert retry(failing(3), sleep=slept.append, waiting=said.append) == "done"
    assert slept == [1, 2, 4]
    assert said[0] == "503; trying again in 1 s"


def test_gives_up():
    slept = []
    with pytest.raises(Transient):
        retry(failing(4), sleep=slept.append)
    assert slept == [1, 2, 4]


def test_honours_retry_after_up_to_a_point():
    slept = []
    assert retry(failing(1, retry_after=7), sleep=slept.append) == "done"
    assert slept == [7]
    with pytest.raises(Transient):
        retry(failing(1, retry_after=3600), sleep=slept.append)
    assert slept == [7]


def test_other_errors_are_not_retried():
    def attempt():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        retry(attempt, sleep=lambda _: pytest.fail("must not wait"))
