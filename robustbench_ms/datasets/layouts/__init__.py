"""How pictures lie: folders, tars, parquet files, a table; each a file here that finds pictures and their labels."""
