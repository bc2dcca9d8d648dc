"""A study on disk or in a database: its storage, attributes, histories, spent budget and lock."""
