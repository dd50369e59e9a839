"""Command-line jobs: `python -m launch.NAME --help`."""
