"""The command line: one file per command, `render` prints, `main` starts."""
