"""Reports: status, plans and runs as text and HTML."""
