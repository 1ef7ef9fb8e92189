# make demo, make test: each installs what is missing first. make check: lint, types, import directions.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
DEMO_PACKAGES := python3-venv:- nftables:nft iproute2:ip util-linux:nsenter
POSTGRESQL := $(or $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb)),/usr/lib/postgresql/bin/initdb)
RSYSLOG := /usr/lib/$(shell uname -m)-linux-gnu/rsyslog
TEST_PACKAGES := etcd-server:etcd chromium:chromium conntrack:conntrack bsdutils:logger rsyslog:rsyslogd \
  postgresql:$(POSTGRESQL) \
  rsyslog-gnutls:$(RSYSLOG)/lmnsd_gtls.so rsyslog-openssl:$(RSYSLOG)/lmnsd_ossl.so --beside
CLUSTER_PACKAGES := etcd-server:etcd runc:runc conntrack:conntrack ipset:ipset iptables:iptables libc-bin:ldd \
  containernetworking-plugins:/usr/lib/cni/host-local gcc:gcc

# Tests need namespaces of their own: as root as it is, otherwise in a user namespace.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo "unshare -Urnm sh -c 'ip link set lo up && exec \"$$@\"' sh")

.PHONY: generate release splunk images setup demo quick test test-cluster test-long check format lock clean packages packages-test packages-cluster bench-commit bench-siem bench-evidence bench-tier soak soak-bridge soak-siem test-kernel

# One worker for each core, at most four: each has a kube-apiserver, a browser and a PostgreSQL where its tests want one.
PYTEST := $(BIN)/python -m pytest -q
WORKERS ?= -n auto --maxprocesses=4 --dist loadfile
PURE := not kernel and not apiserver and not chart and not registry and not cluster

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(MAKE) --no-print-directory packages
	$(PYTHON) -m venv $(VENV)
	@# The lock has everything by name, and pip would look for extras (pydantic[email]) that it doesn't name.
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/pip check --disable-pip-version-check
	@touch $@

packages:
	@config/install-packages $(DEMO_PACKAGES)

packages-test:
	@config/install-packages $(DEMO_PACKAGES) $(TEST_PACKAGES)

packages-cluster:
	@config/install-packages $(DEMO_PACKAGES) $(CLUSTER_PACKAGES)

demo: setup
	$(AS_ROOT) $(BIN)/python -m tests.demo $(if $(PANORAMA_CONFIG),--panorama-config "$(PANORAMA_CONFIG)") $(if $(DEVICE_GROUP),--device-group "$(DEVICE_GROUP)")

test: packages-test setup check
	-$(BIN)/python -m tests.realkube build
	-$(BIN)/python -m tests.chart.programs
	$(AS_ROOT) $(PYTEST) $(WORKERS)

# A whole Kubernetes cluster in namespaces, with the product installed on it: real root, and Go once.
# Two clusters at a time: one for what is tried on the usual kind, one for releases and the other kinds in turn.
CLUSTERS ?= -n 2
test-cluster: packages-cluster setup
	$(BIN)/python -m tests.cluster build
	$(BIN)/python -m pytest -q -m cluster $(CLUSTERS) --durations=15 tests/cluster

test-long: packages-test setup
	HYPOTHESIS_PROFILE=long $(AS_ROOT) $(PYTEST) $(WORKERS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# While one works: lint, types, and the tests that need nothing but the processor. Within a minute, no root.
quick: check
	HYPOTHESIS_PROFILE=quick $(PYTEST) $(WORKERS) -m "$(PURE)" tests/zones \
	  tests/enforcer/rules tests/enforcer/reports tests/enforcer/wire

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is made from something else: config/deploy from the chart, its schema and the settings reference from the models.
generate: setup
	$(BIN)/python -m tools.version
	$(BIN)/python -m tools.manifests
	$(BIN)/python -m tools.schema
	$(BIN)/python -m tools.dashboards
	$(BIN)/python -m tools.splunk
	$(BIN)/python -m tools.elastic
	$(BIN)/python -m tools.settingsdocs
	$(BIN)/python -m tools.chartreadme

# Pins every dependency with its hashes; no index address gets into the file.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra postgresql --constraint requirements.lock --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --quiet --output-file config/image/requirements.lock

# dist/: wheel, chart, Splunk app, kubectl plugin with its krew manifest, bill of materials, checksums; the same bytes each time from one
# commit. RELEASE_URL: the folder that it will be published in, which the manifest names.
release: setup
	$(BIN)/python -m tools.release

# The Splunk app alone: dist/zonebridge-splunk-VERSION.spl, the same bytes as in a release.
splunk: setup
	$(BIN)/python -m tools.release splunk

# The image, by docker or podman: make images CONTAINER=podman IMAGE=registry.example.com/security/zonebridge
CONTAINER ?= docker
IMAGE ?= zonebridge
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images: release
	$(CONTAINER) build --file config/image/Containerfile --build-arg VERSION=$(VERSION) \
	  --build-arg SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) --tag $(IMAGE):$(VERSION) .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# From an administrator's change to the kernel, stage by stage; figures in build/bench/control.jsonl
bench-control: setup
	$(AS_ROOT) $(BIN)/python -m tests.bench.control

bench-panorama: setup
	$(BIN)/python -m tests.bench.panorama

bench-commit: setup
	$(BIN)/python -m tests.bench.commit

bench-population: setup
	$(BIN)/python -m tests.bench.population

bench-podslices: setup
	$(BIN)/python -m tests.bench.podslices

bench-enforcer: setup
	$(AS_ROOT) $(BIN)/python -m tests.bench.enforcer

# 20,000 denied connections a second from the kernel to acknowledged delivery, and what that costs: some four minutes.
bench-siem: setup
	$(AS_ROOT) $(BIN)/python -m tests.bench.siem

# What 5,000 nodes saw, into SQLite and PostgreSQL (which needs root): a few minutes. Then thirteen months of 500 nodes: reports over
# a quarter and at an instant, and copies of revisions; with wall and processor time.
bench-evidence: packages-test setup
	$(BIN)/python -m tests.bench.evidence
	$(BIN)/python -m tests.bench.intervals 500 2500
	$(BIN)/python -m tests.bench.revisions

bench-tier: setup
	$(BIN)/python -m tests.bench.tier

# Everything at work and everything going wrong at once, on the real kernel and a real API server: make soak SECONDS=3600 SEED=7
# Needs a C compiler, iproute2's ss and etcd; prints a JSON line for each round, and ends with 1 at a broken invariant.
soak: packages-test setup
	SECONDS=$(or $(SECONDS),600) $(AS_ROOT) $(BIN)/python -m tests.soak

# The bridge alone, with an administrator who tampers with the tier: many more commits a minute than above.
soak-bridge: setup
	SECONDS=$(or $(SECONDS),600) $(BIN)/python -m tests.bench.soak

# The kernel tests under another kernel, in QEMU: make test-kernel PACKAGE=linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb
test-kernel: setup
	$(BIN)/python -m tests.kernels $(PACKAGE)

# A million events while the SIEM is away, fifty kills, and the other faults in full; figures in build/bench/siem-faults.jsonl
soak-siem: setup
	$(AS_ROOT) $(BIN)/python -m tests.bench.siemfaults
