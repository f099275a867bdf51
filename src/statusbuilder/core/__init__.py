"""The builder: a state machine, its blocks, and how sinks learn of changes. Users import it from `statusbuilder`."""
