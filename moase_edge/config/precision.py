"""Settings of the precisions: what counts as agreeing with fp32, and how the fastest is found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moase_edge.config.base import Settings

GraphPrecision = Literal["fp32", "fp16", "bf16", "int8"]
HalfPrecision = Literal["fp16", "bf16"]
HalfStrategy = Literal["plain", "wide-norms", "wide-residuals"]


class ParityThresholds(Settings):
    """How far an engine may be from the fp32 graph on the same frames, and once more on them under a shift.

    Attributes:
        cosine: least cosine of any output of any frame: taps, logits, each block's token means.
        relative_error: most of the taps, norm of the difference over that of the reference, median over frames.
        logits: likewise of the frozen answer.
        token_means: likewise of the token means, of the block that is worst.
        gradients: likewise of the gradient in all adapter weights.
        top1_agreement: least share of frames with the same frozen answer; one frame may always differ, because
            a single tie says nothing. Under a shift, which brings answers near to ties, it is not asked.
    """

    cosine: float = Field(ge=-1, le=1)
    relative_error: float = Field(ge=0, allow_inf_nan=False)
    logits: float = Field(ge=0, allow_inf_nan=False)
    token_means: float = Field(ge=0, allow_inf_nan=False)
    gradients: float = Field(ge=0, allow_inf_nan=False)
    top1_agreement: float = Field(ge=0, le=1)


# Several times what a good engine shows (DeiT-Tiny on photographs, docs/precision.md), of int8 twice: there ranges
# that are a quarter too small are only two to four times as far. Answers are counted on some dozen frames, where
# one or two more are chance, so they have more room. fp16 rounds to 11 bits, bf16 to 8. A plan in fp32 may have
# products in TF32, with 11 bits, where it was built so.
THRESHOLDS: dict[GraphPrecision, ParityThresholds] = {
    "fp32": ParityThresholds(
        cosine=0.9999, relative_error=0.005, logits=0.005, token_means=0.003, gradients=0.02, top1_agreement=0.99
    ),
    "fp16": ParityThresholds(
        cosine=0.999, relative_error=0.01, logits=0.01, token_means=0.006, gradients=0.05, top1_agreement=0.99
    ),
    "bf16": ParityThresholds(
        cosine=0.99, relative_error=0.05, logits=0.05, token_means=0.04, gradients=0.2, top1_agreement=0.97
    ),
    "int8": ParityThresholds(
        cosine=0.88, relative_error=0.17, logits=0.19, token_means=0.1, gradients=0.32, top1_agreement=0.9
    ),
}


class PrecisionSettings(Settings):
    """How precisions are compared.

    Attributes:
        thresholds: of parity with fp32, by precision.
        frames: pictures that parity is taken on, spread over the calibration frames or the source images.
        seeded_frames: frames of noise in their place where there are neither.
        rounds, warm_up: of timing; in each round every engine runs one frame.
        seconds: timing ends after so long, whatever is left of the rounds.
        tie: share by which another engine must be faster than the one in fp32 to be taken.
    """

    thresholds: dict[GraphPrecision, ParityThresholds] = THRESHOLDS
    frames: int = Field(default=32, ge=1)
    seeded_frames: int = Field(default=8, ge=1)
    rounds: int = Field(default=31, ge=1)
    warm_up: int = Field(default=3, ge=0)
    seconds: float = Field(default=20.0, gt=0)
    tie: float = Field(default=0.03, ge=0, lt=1)
