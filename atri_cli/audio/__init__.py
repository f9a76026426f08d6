"""Read, resample and cut sound files."""
