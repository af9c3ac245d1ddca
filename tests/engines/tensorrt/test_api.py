"""Every name of TensorRT that an executor uses exists in the flavour that can be installed without a GPU."""

from __future__ import annotations

import pytest

USED = {
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "get_tensor_profile_shape",
        "create_runtime_config",
        "create_execution_context",
    ],
    "IExecutionContext": ["set_input_shape", "set_tensor_address", "is_stream_capturable", "execute_async_v3"],
    "IRuntimeConfig": [
        "create_runtime_cache",
        "set_runtime_cache",
        "dynamic_shapes_kernel_specialization_strategy",
    ],
    "DynamicShapesKernelSpecializationStrategy": ["EAGER"],
    "IRuntimeCache": ["deserialize", "serialize"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
    "DataType": ["FLOAT", "HALF"],
}
STAND_INS = {
    "Runtime": "Runtime",
    "ICudaEngine": "Engine",
    "IExecutionContext": "Context",
    "IRuntimeConfig": "RuntimeConfig",
    "DynamicShapesKernelSpecializationStrategy": "DynamicShapesKernelSpecializationStrategy",
    "IRuntimeCache": "Cache",
    "TensorIOMode": "TensorIOMode",
    "DataType": "DataType",
}


@pytest.mark.parametrize("name", USED)
def test_what_an_executor_uses_is_there_in_tensorrt_rtx_and_in_the_stand_in(name: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    from tests.engines.tensorrt import stand_in

    for attribute in USED[name]:
        assert hasattr(getattr(trt, name), attribute), attribute
        assert hasattr(getattr(stand_in, STAND_INS[name]), attribute), attribute


def test_the_flag_that_a_plan_is_built_with_for_graph_capture_is_one_of_tensorrt_rtx() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    assert (
        "graph capture" in trt.BuilderFlag.REQUIRE_USER_ALLOCATION.__doc__.partition("REQUIRE_USER_ALLOCATION")[2]
    )


@pytest.mark.parametrize(
    ("owner", "method", "signature"),
    [
        ("Runtime", "deserialize_cuda_engine", "serialized_engine:"),
        ("ICudaEngine", "create_execution_context", "runtime_config:"),
        ("IExecutionContext", "execute_async_v3", "stream_handle:"),
        ("IExecutionContext", "set_tensor_address", "name: str, memory:"),
        ("IExecutionContext", "set_input_shape", "name: str, shape: tuple"),
        ("ICudaEngine", "get_tensor_profile_shape", "name: str, profile_index:"),
        ("IRuntimeConfig", "set_runtime_cache", "cache:"),
        ("IRuntimeCache", "deserialize", "blob:"),
    ],
)
def test_arguments_are_those_of_tensorrt_rtx(owner: str, method: str, signature: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    assert signature in getattr(getattr(trt, owner), method).__doc__
