"""``python -m pymoo_nas`` is ``pymoo-nas``."""

from pymoo_nas.cli import main

if __name__ == "__main__":
    main()
