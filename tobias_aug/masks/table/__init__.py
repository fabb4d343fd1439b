"""MaskTable: Parquet parts, the key index, tables out of tables."""
