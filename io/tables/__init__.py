"""Tables: CSV, Parquet, Arrow; their columns become features, numbers as they are and texts one feature a category."""
