"""``python -m difflut_compiler`` is ``difflut``."""

from difflut_compiler.cli import main

if __name__ == "__main__":
    main()
