"""`python -m throttle` is the command `throttle`."""

from throttle.cli import main

if __name__ == "__main__":
    main()
