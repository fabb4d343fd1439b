"""What every method trades in: cells, regions, and the table that stores a dataset's masks."""
