"""``python -m builder``."""

from builder.quick import main

if __name__ == "__main__":
    main()
