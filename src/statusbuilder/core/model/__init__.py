"""Values that need no I/O and no thread: enums, tasks, snapshots, receipts, and the JSON and times in them."""
