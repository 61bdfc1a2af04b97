"""An item's content: stores on disk, tables in the order of item ids."""
