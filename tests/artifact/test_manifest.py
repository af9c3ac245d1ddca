from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from moase_edge.artifact.manifest import FileName, Manifest, canonical_json, seal
from moase_edge.artifact.preprocess_spec import PreprocessSpec
from tests.artifact.folders import FILES, fields, steerable_fields

FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)
DIGEST = "0" * 64
PLAN = {
    "file": "backbone.onnx",
    "runtime": "tensorrt-rtx",
    "precision": "fp16",
    "source": "backbone.onnx",
    "built_for": {"target": "sm86", "versions": {"tensorrt-rtx": "1.7.0"}},
}


def manifest(**changes: Any) -> Manifest:
    return Manifest(
        schema_version=1, files=dict.fromkeys(FILES, DIGEST), manifest_sha256=DIGEST, **fields(**changes)
    )


@pytest.mark.parametrize("name", ["a", "backbone.fp16.sm87.trt10.engine", "plans/a.engine", ".hidden", "a..b"])
def test_file_names_inside_the_folder_are_taken(name: str) -> None:
    assert FILE_NAME.validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a", "a/../../b", "a/..", "/etc/passwd", "//a", "./a", "a/", "a//b", "a/./b"),
        *("C:\\a", "a\\b", "file:a", "a\0b", "a\nb"),
    ],
)
def test_file_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FILE_NAME.validate_python(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engines": ()}, "at least 1 item"),
        ({"engines": ({"file": "other.onnx", "opset": 18},)}, "no hash is given of other.onnx"),
        ({"engines": ({"file": "backbone.onnx", "opset": 17},)}, "greater than or equal to 18"),
        ({"engines": ({"file": "backbone.onnx"},)}, "an ONNX graph has an opset"),
        (
            {"engines": ({"file": "backbone.onnx", "runtime": "tensorrt"},)},
            "a plan what it was built for and from",
        ),
        ({"engines": ({**PLAN, "opset": 18},)}, "a plan what it was built for and from"),
        ({"engines": ({**PLAN, "source": "other.onnx"},)}, "no hash is given of other.onnx"),
        ({"engines": ({**PLAN, "built_for": {"target": "86", "versions": {}}},)}, "pattern"),
        ({"labels": ("cat",)}, "1 labels for 2 classes"),
        ({"identity": "1" * 63}, "not a sha256"),
        ({"identity": "A" * 64}, "not a sha256"),
        ({"created_at": "2026-01-01T00:00:00"}, "timezone"),
        ({"task": "segment"}, "'classify'"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_manifest_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        manifest(**changes)


def test_a_plan_and_the_graph_it_was_built_from_are_taken() -> None:
    graph, plan = manifest(engines=({"file": "backbone.onnx", "opset": 18}, PLAN)).engines
    assert graph.built_for is None
    assert plan.built_for is not None
    assert plan.built_for.target == "sm86"


def test_a_manifest_says_whether_the_engine_can_be_steered() -> None:
    assert not manifest().steerable
    assert manifest(**steerable_fields()).steerable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steerable": True}, r"shift has shape None; expected \(None, 2, 8\), as steerable is True"),
        ({**steerable_fields(), "steerable": False}, r"shift has shape \(None, 2, 8\); expected None"),
        ({**steerable_fields(), "outputs": fields()["outputs"]}, "token_means has shape None"),
        (
            {
                **steerable_fields(),
                "inputs": ({"name": "shift", "shape": (None, 8, 2), "meaning": "turned"},),
            },
            r"shift has shape \(None, 8, 2\)",
        ),
    ],
)
def test_a_manifest_whose_tensors_do_not_fit_its_word_on_steering_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        manifest(**changes)


def test_a_manifest_without_labels_is_taken() -> None:
    assert manifest(labels=None).labels is None


def test_canonical_json_is_one_byte_sequence_for_one_value() -> None:
    assert canonical_json({"b": [1.5, None], "a": "é"}) == b'{"a":"\\u00e9","b":[1.5,null]}'


def test_seal_is_the_sha256_of_the_canonical_fields_but_its_own() -> None:
    expected = hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    assert seal({"b": 2, "a": 1}) == seal({"a": 1, "manifest_sha256": "any", "b": 2}) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(), json_values, max_size=5), other=json_values, key=st.text())
def test_seal_ignores_the_order_of_fields_and_notices_any_change(
    content: dict[str, Any], other: object, key: str
) -> None:
    content.pop("manifest_sha256", None)
    assert seal(dict(reversed(content.items()))) == seal(content)
    changed = {**content, key: other}
    if key != "manifest_sha256" and canonical_json(changed) != canonical_json(content):
        assert seal(changed) != seal(content)


@pytest.mark.parametrize(
    "changes",
    [
        {"std": (1, 0, 1)},
        {"std": (1, float("inf"), 1)},
        {"mean": (0, float("nan"), 0)},
        {"mean": (0, 0)},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"height": 0},
        {"interpolation": "area"},
        {"crop_mode": "random"},
    ],
)
def test_preprocessing_that_no_frame_survives_is_refused(changes: dict[str, Any]) -> None:
    values = {"height": 4, "width": 4, "crop_pct": 1, "mean": (0, 0, 0), "std": (1, 1, 1), **changes}
    with pytest.raises(ValidationError):
        PreprocessSpec(**values)
