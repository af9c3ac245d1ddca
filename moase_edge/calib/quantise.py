"""An int8 engine: Q/DQ nodes in a float graph, where TensorRT wants them, with ranges from calibration frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moase_edge.calib.histogram import Histogram, range_of
from moase_edge.calib.migrate import migratable, migrated
from moase_edge.calib.observe import observe
from moase_edge.calib.products import Product, load_graph, normed_tensors, product_shapes, products_of
from moase_edge.calib.qdq import with_qdq
from moase_edge.config.calib import QuantiseSettings
from moase_edge.config.names import RangeMethod
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
        StorageError: `out` cannot be written.
    """
    ready = prepare(load_graph(model), frames, settings, keep_float=keep_float, cache=cache)
    return write_quantised(ready.graph, out, ready.ranges(settings), ready.chosen, ready.kept)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A float graph that is ready for Q/DQ.

    Attributes:
        graph: it computes what the original does, with evener channels where the settings ask for it.
        chosen, kept: products that become int8, and those that stay.
        seen: histograms of the inputs of `chosen`.
        normed: those of these inputs that come out of a LayerNorm.
    """

    graph: Any
    chosen: tuple[Product, ...]
    kept: tuple[Product, ...]
    seen: dict[str, Histogram]
    normed: frozenset[str]

    def ranges(self, settings: QuantiseSettings, method: RangeMethod | None = None) -> dict[str, float]:
        """Magnitude up to which int8 reaches, by tensor; `method` instead of that of the settings."""
        rest = method or settings.method
        of_norms = settings.norms or rest
        return {
            name: range_of(of, of_norms if name in self.normed else rest, percentile=settings.percentile)
            for name, of in self.seen.items()
        }


def prepare(
    graph: Any,
    frames: Sequence[NDArray[np.float32]],
    settings: QuantiseSettings,
    *,
    keep_float: Collection[str] = (),
    cache: Path | None = None,
) -> Prepared:
    """Even out channels as the settings ask, and watch the activations; arguments and errors as `quantise`."""
    chosen, kept = split(products_of(graph, product_shapes(graph)), settings, keep_float)
    norms = migratable(graph, {product.node for product in chosen}) if settings.smooth else {}
    if norms:
        before = observe(graph, list(norms), frames, bins=settings.bins, cache=cache)
        graph = migrated(graph, norms, before, settings.smooth)
    seen = observe(graph, inputs_of(chosen), frames, bins=settings.bins, cache=cache)
    return Prepared(graph, chosen, kept, seen, normed_tensors(graph) & seen.keys())


def inputs_of(products: Sequence[Product]) -> list[str]:
    """Every computed input of `products`, once."""
    return list(dict.fromkeys(name for product in products for name in product.activations))


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
        """Whether a product stays in float."""
        named = product.node in keep_float or product.module in keep_float
        return named or (product.weight is None and not settings.attention)

    chosen = tuple(product for product in products if not stays(product))
    if not chosen:
        raise CalibrationError("no product is left to quantise. Keep fewer of them in float.")
    return chosen, tuple(product for product in products if stays(product))


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
