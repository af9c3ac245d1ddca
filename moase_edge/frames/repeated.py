"""A file that begins again at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from moase_edge.frames.frame import Frame
from moase_edge.frames.source import Source


class RepeatedSource(Source):
    """Opens a file or folder again at its end, so that it lasts as long as a measurement needs.

    `counts` are those of the round at hand. `Frame.index` begins again with each round.

    Args:
        open_again: opens the source at its first frame.
    """

    live = False
    length: int | None = None

    def __init__(self, open_again: Callable[[], Source]) -> None:
        self._open_again = open_again
        self._source = open_again()
        self.name, self.counts = self._source.name, self._source.counts

    def frames(self) -> Iterator[Frame]:
        """Frames without end; a round without any ends them."""
        delivered = True
        while delivered:
            delivered = False
            for frame in self._source.frames():
                delivered = True
                yield frame
            self._source.close()
            self._source = self._open_again()
            self.counts = self._source.counts

    def close(self) -> None:
        """Release the file."""
        self._source.close()
