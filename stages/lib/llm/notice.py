"""What libraries log over and over while a model computes, said once."""

from __future__ import annotations

import logging

# bitsandbytes 0.50 tells in each layer of each pass of LLM.int8 that it casts its inputs, all but those in float16.
_REPEATED = ("bitsandbytes.autograd._functions",)


class _Once(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the text is a new one."""
        text = record.getMessage()
        if text in self._said:
            return False
        self._said.add(text)
        return True


_ONCE = _Once()


def say_once() -> None:
    """Let each text of the loggers that repeat themselves through once a process, however often this is called."""
    for name in _REPEATED:
        logging.getLogger(name).addFilter(_ONCE)  # a logger takes a filter once
