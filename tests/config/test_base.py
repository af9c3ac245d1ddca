from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from moase_edge.config.base import Settings, load_settings
from moase_edge.errors import ConfigError


class Inner(Settings):
    depth: int = Field(gt=0)


class Outer(Settings):
    name: str
    rate: float = Field(default=0.5, ge=0, le=1)
    inner: Inner = Inner(depth=1)

    @model_validator(mode="after")
    def _name_fits(self) -> Outer:
        if self.name == "forbidden":
            raise ValueError("this name is taken")
        return self


def refused(values: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(Outer, values)
    assert isinstance(caught.value.__cause__, ValidationError)
    return str(caught.value)


def test_settings_are_built_from_plain_values() -> None:
    assert load_settings(Outer, {"name": "a", "inner": {"depth": 3}}) == Outer(name="a", inner=Inner(depth=3))


def test_all_faults_are_reported_together_with_place_and_value() -> None:
    message = refused({"rate": 2, "inner": {"depth": 0}, "surprise": 7})
    assert message.startswith("4 faults in Outer:")
    lines = message.splitlines()
    assert "  name: Field required" in lines
    assert "  rate: Input should be less than or equal to 1 (got 2)" in lines
    assert "  inner.depth: Input should be greater than 0 (got 0)" in lines
    assert any(line.startswith("  surprise:") for line in lines)


def test_an_unknown_key_is_refused_and_the_known_ones_are_listed() -> None:
    assert refused({"name": "a", "surprise": 7}).endswith("Known are name, rate, inner.")


@pytest.mark.parametrize(("key", "near"), [("rat", "rate"), ("Rate", "rate"), ("in-ner", "inner")])
def test_an_unknown_key_is_answered_with_the_nearest_one(key: str, near: str) -> None:
    assert f"  {key}: unknown; did you mean {near}? (got 7)" in refused({"name": "a", key: 7}).splitlines()


def test_a_setting_is_found_by_its_initials() -> None:
    class Short(Settings):
        lr: float = 0.1

    with pytest.raises(ConfigError, match=r"  learning_rate: unknown; did you mean lr\? \(got 0.5\)"):
        load_settings(Short, {"learning_rate": 0.5})


def test_a_fault_in_a_key_is_told_where_it_is() -> None:
    class Weights(Settings):
        weights: dict[Literal["first"], float]

    with pytest.raises(ConfigError) as caught:
        load_settings(Weights, {"weights": {"second": 1.0}})
    assert "  weights.second: Input should be 'first' (got 'second')" in str(caught.value).splitlines()


def test_known_keys_are_not_listed_for_other_faults() -> None:
    assert "Known are" not in refused({"name": "a", "rate": 2})
    assert "Known are" not in refused({"name": "a", "inner": {"depth": 1, "surprise": 7}})


def test_a_contradiction_between_fields_is_told_without_repeating_all_fields() -> None:
    assert refused({"name": "forbidden"}) == "1 fault in Outer:\n  this name is taken"


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refused({"name": "a", "rate": "x" * 10_000})
    assert len(message) < 250
    assert "xxx..." in message


def test_keys_that_are_no_text_are_refused() -> None:
    assert "Keys should be strings" in refused({"name": "a", 3: 4})  # type: ignore[dict-item]


def test_settings_cannot_be_changed() -> None:
    settings = Outer(name="a")
    with pytest.raises(ValidationError, match="frozen"):
        settings.name = "b"
