"""The client of `benchmarks.web`: scrapes /metrics and reads the picture stream until standard input ends."""

from __future__ import annotations

import json
import sys
import threading
import time
from urllib.request import urlopen

SCRAPE_S = 1.0


def watch(port: int) -> None:
    """Scrape and read; say how much came."""
    counts = {"scrapes": 0, "bytes": 0, "pictures": 0}

    def read() -> None:
        with urlopen(f"http://127.0.0.1:{port}/stream.mjpg") as stream:
            while data := stream.read1(65_536):
                counts["bytes"] += len(data)
                counts["pictures"] += data.count(b"--frame\r\n")

    def scrape() -> None:
        while True:
            with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                answer.read()
            counts["scrapes"] += 1
            time.sleep(SCRAPE_S)

    for task in (read, scrape):
        threading.Thread(target=task, daemon=True).start()
    sys.stdin.read()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]))
