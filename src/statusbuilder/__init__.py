"""Build the status of a long execution in memory, and deliver it to those who watch."""
