"""The commands of the command line that read from a backend."""
