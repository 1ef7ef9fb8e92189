"""The nodes of a cluster: which of them enforce, their startup taint, and taking the rules out of their kernels."""
