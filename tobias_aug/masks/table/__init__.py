"""MaskTable: Parquet parts, the key index, tables out of tables."""

from typing import TYPE_CHECKING

from tobias_aug.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from tobias_aug.masks.table.combine import concatenate_tables as concatenate_tables
    from tobias_aug.masks.table.combine import filter_table as filter_table
    from tobias_aug.masks.table.parts import TableDescription as TableDescription
    from tobias_aug.masks.table.table import MaskTable as MaskTable

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "table": ["MaskTable"],
        "parts": ["TableDescription"],
        "combine": ["concatenate_tables", "filter_table"],
    },
)
