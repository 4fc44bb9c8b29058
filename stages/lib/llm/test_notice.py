"""bitsandbytes is not in the environment of these tests: its logger is."""

import logging

import pytest
import torch

from lib.llm.checkpoint import read_model

SAYS = "MatMul8bitLt: inputs will be cast from %s to float16 during quantization"


def test_what_each_layer_says_is_said_once(tmp_path, caplog):
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be loaded"):
            read_model(tmp_path, "auto", torch.device("cpu"))
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    caplog.clear()
    for kind in [torch.bfloat16] * 3 + [torch.float32] * 3:
        logger.warning(SAYS, kind)
    assert caplog.messages == [SAYS % torch.bfloat16, SAYS % torch.float32]
