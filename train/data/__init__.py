"""Where training clips come from: manifests, shards, published sets, and a user's own sounds."""
