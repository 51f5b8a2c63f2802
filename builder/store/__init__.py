"""The store: parts, manifests, the ledger, commits, publishing."""
