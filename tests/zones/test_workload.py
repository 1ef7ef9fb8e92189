import pytest

from zones.workload import covers, in_namespace, normalise, split_namespace, workload_name


@pytest.mark.parametrize(
    ("pod", "kind", "owner", "name"),
    [
        ("bastion", None, "", "bastion"),
        ("cart-api-6d4cf56db6-x2x7k", "ReplicaSet", "cart-api-6d4cf56db6", "cart-api"),
        ("orders-db-0", "StatefulSet", "orders-db", "orders-db"),
        ("node-exporter-4kzj9", "DaemonSet", "node-exporter", "node-exporter"),
        ("nightly-28391234-ab3de", "Job", "nightly-28391234", "nightly"),
        ("import-2024-x7z9q", "Job", "import-2024", "import-2024"),
        ("Web_Shop", None, "", "web-shop"),
    ],
)
def test_a_workload_is_its_controllers_name_without_suffixes(pod, kind, owner, name):
    assert workload_name(pod, kind, owner) == name


def test_names_compare_loosely():
    assert normalise(" Fraud_Check v2 ") == normalise("fraud-check-v2")


def test_a_rule_names_a_workload_anywhere_or_in_one_namespace():
    assert split_namespace(in_namespace("shop", "orders-db")) == ("shop", "orders-db")
    assert split_namespace("orders-db") == ("", "orders-db")


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ("orders", "orders", True),
        ("orders", "shop/orders", True),
        ("shop/orders", "orders", False),
        ("shop/orders", "bank/orders", False),
        ("orders", "shop/cart", False),
    ],
)
def test_a_name_for_any_namespace_covers_that_of_one(wide, narrow, does):
    assert covers(wide, narrow) is does
