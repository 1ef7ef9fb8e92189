"""What was seen: kept in a database, or read from a file of the records that nodes write."""
