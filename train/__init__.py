"""Training of atri models (needs the extra `[train]`)."""
