"""From an int8 graph that was found to what its artifact keeps of it."""

from __future__ import annotations

from moase_edge.artifact.calibration import CalibrationFrames, CalibrationRecord, LayerRecord, LossRecord
from moase_edge.calib.fidelity import Fidelity
from moase_edge.calib.histogram import signal_to_noise_db
from moase_edge.calib.products import Product
from moase_edge.calib.representative import Representative
from moase_edge.calib.search import Found
from moase_edge.calib.source_data import plain_name


def record_of(found: Found, chosen: Representative, *, max_drop: float | None) -> CalibrationRecord:
    """What calibration.json says of a graph that was found.

    Args:
        max_drop: the budget that it was found for, in points; None for none.
    """
    quantised = found.quantised
    return CalibrationRecord(
        engine=quantised.path.name,
        method=found.method,
        max_drop=max_drop,
        share=quantised.share,
        frames=CalibrationFrames(
            **{**chosen.coverage.model_dump(), "source": plain_name(chosen.coverage.source)},
            ranging=found.ranging,
            held_out=found.held,
        ),
        loss=_loss(found.fidelity),
        by_method={method: _loss(fidelity) for method, fidelity in found.by_method.items()},
        layers=(
            *(_layer(product, found, int8=True) for product in quantised.nodes),
            *(_layer(product, found, int8=False) for product in quantised.kept),
        ),
        spans=found.spans,
    )


def _layer(product: Product, found: Found, *, int8: bool) -> LayerRecord:
    """One product: where it runs, how far its ranges reach, and what float would bring it."""
    ranges = {name: found.quantised.ranges[name] for name in product.activations} if int8 else {}
    gains = (each.gain for each in found.sensitivities if each.product.node == product.node)
    return LayerRecord(
        layer=product.title,
        node=product.node,
        int8=int8,
        multiply_adds=product.multiply_adds,
        ranges=ranges,
        signal_to_noise_db={name: signal_to_noise_db(found.seen[name], reach) for name, reach in ranges.items()},
        gain=next(gains, None),
    )


def _loss(fidelity: Fidelity) -> LossRecord:
    return LossRecord(**{name: getattr(fidelity, name) for name in LossRecord.model_fields})
