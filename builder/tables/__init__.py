"""Tables: schemas, digests, parts, reading and comparing."""
