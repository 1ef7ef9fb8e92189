"""The table in the kernel: loaded, changed, watched, put back, saved and restored. Blocking; rules never ask it."""
