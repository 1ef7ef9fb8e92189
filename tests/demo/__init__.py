"""The whole product at work in a lab: `make demo`, and the end-to-end tests."""
