"""The report of an int8 calibration: calibration.json, a picture, one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moase_edge.artifact.calibration import CALIBRATION_FILE, CalibrationRecord, LayerRecord, LossRecord
from moase_edge.report.files import write_json
from moase_edge.report.page import Picture, Section, write_page
from moase_edge.report.plots import LayerBar, plot_layers, plots_missing
from moase_edge.report.tables import MISSING, Percent, Table

PAGE = "report.html"
PICTURE = "layers.png"


def write_int8_report(folder: Path, record: CalibrationRecord, *, title: str) -> None:
    """Write the record as JSON, the picture where matplotlib is there, and the page.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_json(folder / CALIBRATION_FILE, record.model_dump(mode="json"))
    missing = plots_missing()
    pictures = []
    if not missing:
        plot_layers(folder / PICTURE, [_bar(layer) for layer in record.layers], title=title)
        alt = "Signal-to-noise ratio of each layer's inputs in int8, and the feature error that the layer causes"
        pictures.append(Picture(folder / PICTURE, alt))
    sections = [
        Section("Outcome", paragraphs=outcome_lines(record), tables=[losses_table(record)]),
        Section(
            "Layers",
            paragraphs=[missing] if missing else [],
            tables=[layers_table(record)],
            pictures=pictures,
        ),
        Section("Frames", details=record.frames.model_dump()),
        Section("Watched at run time", tables=[spans_table(record)]),
    ]
    write_page(folder / PAGE, title, sections)


def outcome_lines(record: CalibrationRecord) -> list[str]:
    """What a reader wants to know first, as sentences."""
    floats = [layer.layer for layer in record.layers if not layer.int8 and layer.gain is not None]
    frames = record.frames
    budget = "" if record.max_drop is None else f"; the budget is {record.max_drop:g} points"
    return [
        f"Ranges by {record.method}; {record.share:.1%} of the multiply-adds are in int8.",
        f"On {frames.held_out} held-out frames {_judged(record.loss)}{budget}.",
        *([] if record.max_drop is None else [f"In float to keep it: {', '.join(floats) or 'nothing'}."]),
        f"Ranges are of {frames.ranging} frames: {frames.taken} of {frames.seen} of {frames.source} were taken, "
        f"{frames.duplicates} were near-duplicates; coverage {frames.coverage:.2f}.",
    ]


def _judged(loss: LossRecord) -> str:
    if loss.accuracy is not None and loss.source_accuracy is not None:
        return f"{loss.accuracy:.1%} are answered right, by the float engine {loss.source_accuracy:.1%}"
    if loss.agreement is not None:
        return f"{loss.agreement:.1%} are answered as by the float engine"
    return f"the features differ by {loss.feature_error:.1%}"


def losses_table(record: CalibrationRecord) -> Table:
    """Before and after: what each method loses, and the graph that was written."""
    columns = ("ranges", "accuracy (%)", "agreement (%)", "feature error (%)", "points lost")
    rows = [(f"{name}, all in int8", *_row(loss)) for name, loss in record.by_method.items()]
    rows.append((f"{record.method}, {record.share:.1%} in int8: written", *_row(record.loss)))
    source = record.loss.source_accuracy
    rows.insert(0, ("float", _percent(source), Percent(100), Percent(0), Percent(0)))
    return Table("Loss on held-out frames", columns, rows)


def _row(loss: LossRecord) -> tuple[Percent | str, Percent | str, Percent, Percent]:
    return _percent(loss.accuracy), _percent(loss.agreement), Percent(100 * loss.feature_error), Percent(loss.drop)


def _percent(share: float | None) -> Percent | str:
    return MISSING if share is None else Percent(100 * share)


def layers_table(record: CalibrationRecord) -> Table:
    """Range, noise and sensitivity of each layer."""
    columns = (
        "layer",
        "runs in",
        "multiply-adds (million)",
        "range",
        "signal to noise (dB)",
        "feature error (points)",
    )
    rows = [
        (
            layer.layer,
            "int8" if layer.int8 else "float",
            layer.multiply_adds / 1e6,
            _joined(layer.ranges),
            _joined(layer.signal_to_noise_db),
            MISSING if layer.gain is None else f"{100 * layer.gain:.2f}",
        )
        for layer in record.layers
    ]
    note = "Feature error: by how much it falls where this layer alone is in float; below 0 it grows."
    return Table("Layers", columns, rows, note)


def spans_table(record: CalibrationRecord) -> Table:
    """What a run is watched against."""
    rows = [(name, low, high) for name, (low, high) in record.spans.items()]
    note = "A frame counts as outside where a value leaves this by more than a tenth of its width."
    return Table("Lowest and highest value over the frames", ("tensor", "lowest", "highest"), rows, note)


def _joined(values: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values.values()) or MISSING


def _bar(layer: LayerRecord) -> LayerBar:
    noise = min(layer.signal_to_noise_db.values(), default=None)
    return LayerBar(layer.layer, layer.int8, noise, layer.gain)
