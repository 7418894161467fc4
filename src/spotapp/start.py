"""The ``spotcore`` command as a shell starts it: Ctrl-C while it is still being loaded ends it as it does later."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from spotapp.cli import main as commands
    except KeyboardInterrupt:
        print("Aborted!", file=sys.stderr)
        sys.exit(1)
    commands()


if __name__ == "__main__":
    main()
