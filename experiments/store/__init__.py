"""The telemetry store: Parquet files with DuckDB over them, or a ClickHouse that has outgrown them."""
