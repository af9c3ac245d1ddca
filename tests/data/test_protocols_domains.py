"""Domains by name, computed on the fly."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from moase_edge.data.corruptions import CORRUPTIONS, corrupt
from moase_edge.data.domains import computed_domain
from moase_edge.data.labelled import Domain, LabelledImages
from moase_edge.data.shifts import SHIFTS, shift
from moase_edge.errors import ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def shown(domain: Domain) -> bytes:
    return domain.show(IMAGE.copy(), np.random.default_rng(7)).tobytes()


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "spatter"])
def test_corruption_is_that_of_its_name_severity_and_constants(name: str) -> None:
    domain = computed_domain(name, 4, constants="imagenet")
    expected = corrupt(IMAGE, name, 4, np.random.default_rng(7), constants="imagenet")
    assert shown(domain) == expected.tobytes()
    assert (domain.name, domain.severity) == (name, 4)


def test_shift_is_that_of_its_name_and_strength() -> None:
    assert shown(computed_domain("exposure", 3)) == shift(IMAGE, "exposure", 3, np.random.default_rng(7)).tobytes()


def test_clean_changes_nothing_and_has_no_severity() -> None:
    domain = computed_domain("clean", 5)
    assert shown(domain) == IMAGE.tobytes()
    assert domain.severity is None
    assert domain.at is None


@pytest.mark.parametrize("name", [*CORRUPTIONS, *SHIFTS])
def test_domain_knows_its_other_severities(name: str) -> None:
    domain = computed_domain(name, 5, constants="imagenet")
    assert domain.at is not None
    mildest = domain.at(1)
    assert (mildest.name, mildest.severity) == (name, 1)
    assert shown(mildest) == shown(computed_domain(name, 1, constants="imagenet"))
    assert (shown(mildest) == shown(domain)) == (name == "mirror")


def test_domain_travels_to_another_process() -> None:
    domain = computed_domain("gaussian_noise", 2)
    assert shown(pickle.loads(pickle.dumps(domain))) == shown(domain)


def test_unknown_name_is_refused_with_the_nearest_and_all_others() -> None:
    with pytest.raises(
        ConfigError, match=r"'gausian_noise'.*did you mean 'gaussian_noise'\?.*clean, .*camera_curve"
    ):
        computed_domain("gausian_noise", 5)


def test_name_near_to_none_is_refused_without_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"'qqq' does not exist; expected one of clean, gaussian_noise"):
        computed_domain("qqq", 5)


@pytest.mark.parametrize("severity", [0, 6, True])
@pytest.mark.parametrize("name", ["clean", "fog", "mirror"])
def test_severity_out_of_range_is_refused(name: str, severity: int) -> None:
    with pytest.raises(ConfigError, match="severity is"):
        computed_domain(name, severity)


def test_original_is_a_copy_of_the_streamed_or_of_the_stored_picture() -> None:
    images = LabelledImages(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]), ("a", "b"))
    stored = np.full((2, 4, 4, 3), 9, np.uint8)
    for domain, value in ((Domain("computed"), 0), (Domain("stored", pictures=stored), 9)):
        original = domain.original(images, 1)
        assert (original == value).all()
        original[:] = 255
    assert not images.images.any()
    assert (stored == 9).all()
