"""Settings of the tracker: what corrects the frozen model without a gradient."""

from __future__ import annotations

from pydantic import Field

from moase_edge.config.base import Settings


class TrackSettings(Settings):
    """How domains are recognised, and how features, tokens and answers are corrected for them.

    Chosen on the source photographs under other corruptions and on digits (docs/experiments.md).

    Attributes:
        recentre: move the features of a recognised domain to where they were in the source.
        remember: answer from the mean of the frames that show the same content.
        steer: move the tokens inside the engine too, where it can be steered and the answers become surer by it.
        same_content: cosine, of centred features and of centred keys, from which two frames show the same.
        most_domains: kept at a time; the one not seen for longest makes room.
        near: squared distance, in source spreads and a mean over channels, within which a domain is a known one.
        spread: share of the source's variance that one frame may lie away from its own domain.
        decide: frames with new content before an unknown domain becomes a known one.
        half_life: frames with new content after which a domain's running mean has forgotten half.
        caution: multiple of its expected sampling error that a difference in means must exceed to count.
        depth: where tokens are steered, as a share of the blocks.
        strength: share of the difference in token means that is taken back.
        gain: share by which steering must lower the entropy of a domain's answers to be kept up.
        trials: frames with new content of a domain on which it is tried before that is decided.
        try_every: frames with new content between later trials.
    """

    recentre: bool = True
    remember: bool = True
    steer: bool = True
    same_content: float = Field(default=0.6, gt=-1, lt=1)
    most_domains: int = Field(default=16, ge=1, le=256)
    near: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    spread: float = Field(default=1.2, gt=0, allow_inf_nan=False)
    decide: int = Field(default=3, ge=1)
    half_life: float = Field(default=34.0, gt=0, allow_inf_nan=False)
    caution: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    depth: float = Field(default=5 / 12, ge=0, lt=1)
    strength: float = Field(default=0.7, ge=0, le=2)
    gain: float = Field(default=0.06, ge=0, lt=1)
    trials: int = Field(default=8, ge=2)
    try_every: int = Field(default=32, ge=1)

    @property
    def corrects(self) -> bool:
        """Whether there is anything to do."""
        return self.recentre or self.remember or self.steer
