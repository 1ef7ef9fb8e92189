"""The whole product on a real kernel, a real API server and etcd, under every fault at once: `make soak`."""
