module zonebridge.io/tests/cluster/server

go 1.21
