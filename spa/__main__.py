"""`python -m spa` is the command `spa`."""

from __future__ import annotations

from spa.cli.main import main

if __name__ == "__main__":
    main()
