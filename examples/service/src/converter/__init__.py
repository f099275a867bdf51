"""A small runner service: it converts the CSV files that are put into a folder to JSON Lines."""
