"""The library: scan, index, store, vectors, search."""
