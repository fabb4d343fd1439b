"""What builds, checks and releases the project; none of it is installed."""
