"""An int8 engine: Q/DQ nodes in a float graph, where TensorRT wants them, with ranges from calibration frames."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.histogram import Histogram, range_of
from moase_edge.calib.observe import observe
from moase_edge.calib.products import PRODUCTS, Product, load_graph, product_shapes, products_of
from moase_edge.config.calib import QuantiseSettings
from moase_edge.errors import CalibrationError
from moase_edge.report.files import write_bytes_atomic


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 graph that was written.

    Attributes:
        path: of the graph.
        ranges: magnitude up to which int8 reaches, by the tensor of the float graph that is quantised.
        share: of the multiply-adds of one frame that are in int8.
        nodes: products that are in int8, in the graph's order.
        kept: products that stayed in float.
    """

    path: Path
    ranges: dict[str, float]
    share: float
    nodes: tuple[Product, ...]
    kept: tuple[Product, ...]


def quantise(
    model: Path,
    out: Path,
    frames: Sequence[NDArray[np.float32]],
    settings: QuantiseSettings,
    *,
    keep_float: Collection[str] = (),
    cache: Path | None = None,
) -> Quantised:
    """Write an int8 graph: each product's inputs go through Q/DQ, everything else stays in float32.

    By TensorRT's rules: symmetric int8, one scale a tensor for activations and one an output channel for weights,
    a Q/DQ pair of its own for each product, none at a product's output; biases, residual sums, LayerNorm, softmax
    and GELU stay in float. Inputs, outputs and their dtypes are those of `model`. The same input gives the same
    bytes.

    Args:
        model: a float ONNX graph with its weights inside; takes images and perhaps a shift, which is fed as zeros.
        out: where the int8 graph is written.
        frames: (1, 3, H, W) float32 each, preprocessed.
        keep_float: products that stay in float, by ONNX node or PyTorch module.
        cache: folder for what was observed so far (see `observe`); None keeps nothing.

    Raises:
        CalibrationError: frames or graph that cannot be used, or a name in `keep_float` that is no product.
        StorageError: `out` or the cache cannot be written.
    """
    graph = load_graph(model)
    products = products_of(graph, product_shapes(graph))
    chosen, kept = split(products, settings, keep_float)
    tensors = list(dict.fromkeys(name for product in chosen for name in product.activations))
    seen = observe(graph, tensors, frames, bins=settings.bins, cache=cache)
    return write_quantised(graph, out, ranges_of(seen, settings), chosen, kept)


def split(
    products: Sequence[Product], settings: QuantiseSettings, keep_float: Collection[str] = ()
) -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """Products that become int8, and those that stay in float.

    Raises:
        CalibrationError: a name that is no product, or nothing is left.
    """
    known = {name for product in products for name in (product.node, product.module)}
    unknown = sorted(set(keep_float) - known)
    if unknown:
        raise CalibrationError(
            f"the graph has no product called {', '.join(unknown)}. It has {', '.join(p.title for p in products)}."
        )

    def stays(product: Product) -> bool:
        named = product.node in keep_float or product.module in keep_float
        return named or (product.weight is None and not settings.attention)

    chosen = tuple(product for product in products if not stays(product))
    if not chosen:
        raise CalibrationError("no product is left to quantise. Keep fewer of them in float.")
    return chosen, tuple(product for product in products if stays(product))


def ranges_of(seen: Mapping[str, Histogram], settings: QuantiseSettings) -> dict[str, float]:
    """The range of each tensor by the method that the settings name."""
    return {
        name: range_of(histogram, settings.method, percentile=settings.percentile)
        for name, histogram in seen.items()
    }


def share_of(chosen: Sequence[Product], kept: Sequence[Product]) -> float:
    """Of the multiply-adds of all products, those of `chosen`."""
    inside = sum(product.multiply_adds for product in chosen)
    return inside / (inside + sum(product.multiply_adds for product in kept))


def write_quantised(
    graph: Any, out: Path, ranges: Mapping[str, float], chosen: Sequence[Product], kept: Sequence[Product]
) -> Quantised:
    """Write `graph` with Q/DQ before the products `chosen`; see `quantise`.

    Raises:
        CalibrationError: onnxruntime cannot quantise the graph.
        StorageError: `out` cannot be written.
    """
    quantised = with_qdq(graph, ranges, [product.node for product in chosen])
    write_bytes_atomic(out, quantised.SerializeToString(deterministic=True))
    used = {name: float(ranges[name]) for product in chosen for name in product.activations}
    return Quantised(out, used, share_of(chosen, kept), tuple(chosen), tuple(kept))


def with_qdq(graph: Any, ranges: Mapping[str, float], nodes: Sequence[str]) -> Any:
    """A copy of `graph` with Q/DQ before `nodes`, by onnxruntime.quantization.

    Raises:
        CalibrationError: it cannot be imported, or fails.
    """
    import onnx

    try:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import TensorData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError as exc:
        raise CalibrationError(
            f"onnxruntime's quantiser cannot be imported ({exc}): `pip install 'moase-edge[cpu]'`."
        ) from exc
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    spans = {
        name: TensorData(lowest=np.array(-reach, np.float32), highest=np.array(reach, np.float32))
        for name, reach in ranges.items()
    }
    try:
        with _typed(copy, ranges):
            quantised = QDQQuantizer(
                copy,
                True,
                False,
                QuantType.QInt8,
                QuantType.QInt8,
                spans,
                list(nodes),
                [],
                list(PRODUCTS),
                _OPTIONS,
            ).quantize_model()
    except Exception as exc:  # it raises many unrelated types
        raise CalibrationError(f"onnxruntime could not quantise the graph: {exc}. Update onnxruntime.") from exc
    return quantised


_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
    "DefaultTensorType": 1,
}


@contextmanager
def _typed(graph: Any, tensors: Collection[str]) -> Iterator[None]:
    """The quantiser leaves out a tensor whose type it does not know, and infers types through files otherwise."""
    from onnx import TensorProto, helper

    known = {entry.name for entry in graph.graph.value_info}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in known]
    graph.graph.value_info.extend(infos)
    entry = graph.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")
    yield
    graph.metadata_props.remove(entry)
