"""Whatever a client sends to the mock Panorama, it answers in XML and stays what it was."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mocks.panorama import Panorama
from mocks.panorama.handlers import Ask, answer
from mocks.panorama.tree import MARKS, load_config
from tests.mocks.panoramas import CONFIG, EMEA, GROUPS, K8S, RULES

TYPES = ["keygen", "version", "op", "config", "commit", "user-id", "log", "report", "export", "import", "nonsense"]
ACTIONS = [
    "show",
    "get",
    "set",
    "edit",
    "delete",
    "rename",
    "move",
    "clone",
    "override",
    "multi-config",
    "all",
    "nonsense",
]
PIECES = [
    K8S,
    EMEA,
    GROUPS,
    "/config",
    "/config/readonly",
    "/config/predefined",
    f"{K8S}/{RULES}/entry",
    "//entry",
    "//*[1]",
]
PIECES += [
    "<show><jobs><id>9</id></jobs></show>",
    "<show><object><registered-ip><limit>0</limit></registered-ip></object></show>",
]
PIECES += [
    "<commit/>",
    "<commit><force/></commit>",
    "<commit-all/>",
    "<request><move-dg><entry name='EMEA'/></move-dg></request>",
]
PIECES += [
    "<uid-message><payload><register><entry ip='x'/></register></payload></uid-message>",
    "<entry name='EMEA' dirtyId='x'/>",
]
PIECES += [
    "<uid-message><payload><login><entry ip='::1' timeout='-'/></login></payload></uid-message>",
    "<member>a</member>",
]
PIECES += [
    "<multi-config><set xpath='/config/shared' id='&lt;'><a/></set><b/></multi-config>",
    "top",
    "before",
    "EMEA",
    "1",
    "\x00",
]
PIECES += [
    "<load><config><from>x</from></config></load>",
    "<request><move-dg/></request>",
    "config",
    "configuration",
    "job-id",
]
values = st.one_of(st.sampled_from(PIECES), st.text(max_size=30))
PARAMETERS = [
    "xpath",
    "element",
    "cmd",
    "newname",
    "where",
    "dst",
    "from",
    "job-id",
    "category",
    "log-type",
    "nlogs",
    "query",
]
requests = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES), "action": st.sampled_from(ACTIONS)},
        optional=dict.fromkeys([*PARAMETERS, "strict-transactional", "target", "user", "password"], values),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests)
def test_whatever_is_asked_the_answer_is_xml_and_the_mock_survives(asked):
    panorama = Panorama(CONFIG, commit_seconds=0)
    panorama.keys.valid["k"] = "admin"
    for params in asked:
        reply = answer(panorama, Ask("POST", {**params, "key": "k"}))
        root = fromstring(reply.body)
        assert root.tag in {"response", "config"}
        assert reply.status in {200, 400, 403}
        assert reply.reason is None or reply.reason.isprintable()
    panorama.commit()
    panorama.finish_jobs()
    assert load_config(panorama.running_xml()) is not None
    assert not [node.tag for node in panorama.candidate.iter() if set(node.attrib) & set(MARKS)]
