"""`python -m moase_edge`: the same as `moase-edge`."""

from moase_edge.cli import main

if __name__ == "__main__":
    main()
