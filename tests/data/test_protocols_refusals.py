"""What protocols refuse, and what they say then."""

from __future__ import annotations

import numpy as np
import pytest

from moase_edge.data.domains import computed_domain
from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.protocols import PROTOCOLS, make_protocol, protocol_options
from moase_edge.data.protocols.by_domain import continual
from moase_edge.errors import ConfigError

A = Domain("a")
LEVELED = [computed_domain("fog", 5), computed_domain("snow", 5)]


def pictures(count: int = 6) -> LabelledImages:
    labels = np.arange(count, dtype=np.int64) % 3
    return LabelledImages(np.zeros((count, 16, 16, 3), np.uint8), labels, ("a", "b", "c"))


def test_shift_that_makes_no_picture_is_named() -> None:
    to_float = Domain("floating", lambda image, rng: image / 255)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"'floating'.*float64"):
        continual(pictures(), [to_float], seed=0)[0]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
@pytest.mark.parametrize(
    ("count", "domains", "options", "message"),
    [
        (0, 2, {}, "0 pictures"),
        (6, 0, {}, "0 domains"),
        (6, 2, {"seed": -1}, "seed is -1"),
        (6, 2, {"limit": 0}, "limit is 0"),
    ],
)
def test_stream_of_nothing_is_refused_at_once(
    name: str, count: int, domains: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_protocol(name, pictures(count), LEVELED[:domains], **{"seed": 0, **options})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cyclic", {"rounds": 0}, "rounds is 0"),
        ("cyclic", {"rounds": "many"}, "rounds is 'many'"),
        ("gradual", {"frames_per_step": 0}, "frames_per_step is 0"),
        ("jumps", {"every": 0}, "every is 0"),
        ("jumps", {"every": 2.5}, r"every is 2\.5"),
        ("clips", {"frames": 1}, "frames is 1"),
        ("clips", {"order": "sorted"}, "'sorted'.*class or shuffled"),
        ("pan", {"frames": 1}, "frames is 1"),
        ("pan", {"frames": 2.5}, r"frames is 2\.5"),
        ("dirichlet", {"delta": 0}, "delta is 0"),
        ("dirichlet", {"delta": float("inf")}, "delta is inf"),
        ("dirichlet", {"delta": float("nan")}, "delta is nan"),
        ("dirichlet", {"delta": "small"}, "delta is 'small'"),
        ("dirichlet", {"slots": 0}, "slots is 0"),
    ],
)
def test_option_out_of_range_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_protocol(name, pictures(), LEVELED, seed=0, **options)


def test_domain_from_disk_must_hold_every_picture() -> None:
    short = Domain("short", pictures=pictures(5))
    with pytest.raises(ConfigError, match=r"'short' has 5 pictures, but picture 5"):
        continual(pictures(6), [short], seed=0)


def test_unknown_protocol_is_refused_with_the_nearest_and_all_others() -> None:
    with pytest.raises(
        ConfigError, match=r"'continous' does not exist; did you mean 'continual'\?.*gradual, mixed"
    ):
        make_protocol("continous", pictures(), [A], seed=0)


def test_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"cyclic protocol has no option 'round'; expected limit, fit, rounds"):
        make_protocol("cyclic", pictures(), [A], seed=0, round=2)


def test_options_are_told_with_their_defaults() -> None:
    assert protocol_options("dirichlet") == {"limit": None, "fit": None, "delta": 0.1, "slots": None}
    assert protocol_options("clips") == {"limit": None, "fit": None, "frames": 12, "order": "class"}
    assert protocol_options("pan") == {"limit": None, "fit": None, "frames": 24}
