"""The daemon: its decisions in a table, its main loop as a real process with stand-ins to start."""
