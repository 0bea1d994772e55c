"""`python -m robustbench_ms` and the command `rbms`."""

from robustbench_ms.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
