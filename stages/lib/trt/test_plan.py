"""What TensorRT's objects are given, with made-up ones that write it down."""

from types import SimpleNamespace

import pytest
import torch

from lib.trt.plan import Plan


class Made:
    """A context that knows two inputs and an output."""

    def __init__(self):
        self.memory = None
        self.profile = None
        self.addresses = {}

    def set_optimization_profile_async(self, profile, stream):
        self.profile = profile
        return profile < 2

    def set_device_memory(self, address, size):
        assert self.profile is not None, "the profile comes first"
        self.memory = (address, size)

    def set_input_shape(self, name, shape):
        return name in ("input_ids", "rows")

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def infer_shapes(self):
        return []


@pytest.fixture
def plan():
    """All of a plan but its file."""
    made = Plan.__new__(Plan)
    made.engine = SimpleNamespace(
        create_execution_context=lambda strategy: Made(),
        device_memory_size_v2=5000,
        get_device_memory_size_for_profile_v2=lambda profile: 1000,
    )
    made.trt = SimpleNamespace(ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=2))
    made.stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    made.device = torch.device("cpu")
    made._memory, made._names = None, {"input_ids", "rows", "logits"}
    return made


def aligned(*shape):
    whole = torch.zeros(1000)
    start = (-whole.data_ptr() % 256) // whole.element_size()
    return whole[start : start + torch.Size(shape).numel()].view(shape)


def test_all_contexts_share_what_the_largest_profile_needs(plan):
    contexts = [plan.context(profile) for profile in (0, 1, 0)]
    assert {context.made.memory for context in contexts} == {(plan._memory.data_ptr(), 5000)}


def test_a_profile_that_is_not_there(plan):
    with pytest.raises(ValueError, match="no profile 2"):
        plan.context(2)


def test_every_tensor_of_the_engine_gets_an_address(plan):
    context = plan.context(0)
    given = {"input_ids": aligned(2, 3), "rows": aligned(1), "logits": aligned(2, 1, 4)}
    context.bind(given)
    assert context.made.addresses == {name: tensor.data_ptr() for name, tensor in given.items()}


@pytest.mark.parametrize("wrong", [{"rows": None}, {"logits": None}, {"more": aligned(1)}])
def test_tensors_that_lack_or_are_too_many(plan, wrong):
    given = {"input_ids": aligned(2, 3), "rows": aligned(1), "logits": aligned(2, 1, 4)} | wrong
    (name,) = wrong
    with pytest.raises(ValueError, match=f"not both: .'{name}'"):
        plan.context(0).bind({name: tensor for name, tensor in given.items() if tensor is not None})
