"""What two builds of one table are compared by."""


def part_bytes(folder):
    """Every file of a table that holds rows, byte for byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}
