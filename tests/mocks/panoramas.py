"""A small Panorama configuration and a server for it, for the tests of mocks/panorama. No test lives here."""

from __future__ import annotations

from mocks.panorama import Panorama, PanoramaServer

GROUPS = "/config/devices/entry[@name='localhost.localdomain']/device-group"
EMEA = f"{GROUPS}/entry[@name='EMEA']"
K8S = f"{GROUPS}/entry[@name='K8s prod']"
RULES = "pre-rulebase/security/rules"
SERIAL = "007051000099999"

CONFIG = f"""<?xml version="1.0"?>
<config version="11.1.0" urldb="paloaltonetworks" detail-version="11.1.6">
  <mgt-config>
    <users><entry name="admin"><permissions><role-based><superuser>yes</superuser></role-based></permissions></entry></users>
    <devices><entry name="{SERIAL}"/></devices>
  </mgt-config>
  <shared>
    <address>
      <entry name="dns-server"><ip-netmask>192.0.2.53/32</ip-netmask></entry>
      <entry name="office"><ip-netmask>198.51.100.0/24</ip-netmask><tag><member>site</member></tag></entry>
    </address>
    <tag><entry name="site"/></tag>
    <pre-rulebase><security><rules>
      <entry name="no telnet" uuid="11111111-1111-4111-8111-111111111111">
        <from><member>any</member></from><to><member>any</member></to>
        <source><member>any</member></source><destination><member>any</member></destination>
        <application><member>any</member></application><service><member>telnet</member></service>
        <action>deny</action>
      </entry>
    </rules></security></pre-rulebase>
  </shared>
  <devices><entry name="localhost.localdomain">
    <template><entry name="edge"><config><devices><entry name="localhost.localdomain"><vsys><entry name="vsys1"><zone>
      <entry name="trust"><network><layer3/></network></entry>
    </zone></entry></vsys></entry></devices></config></entry></template>
    <template-stack><entry name="stack"><templates><member>edge</member></templates></entry></template-stack>
    <device-group>
      <entry name="EMEA">
        <devices><entry name="{SERIAL}"/></devices>
        <address><entry name="office"><ip-netmask>203.0.113.0/24</ip-netmask></entry></address>
      </entry>
      <entry name="K8s prod">
        <address-group><entry name="web"><static><member>office</member></static></entry></address-group>
        <pre-rulebase><security><rules>
          <entry name="web to db" uuid="22222222-2222-4222-8222-222222222222">
            <from><member>web</member></from><to><member>db</member></to>
            <source><member>any</member></source><destination><member>any</member></destination>
            <application><member>mysql</member></application><service><member>application-default</member></service>
            <action>allow</action><log-end>yes</log-end>
          </entry>
          <entry name="drop the rest" uuid="33333333-3333-4333-8333-333333333333">
            <from><member>any</member></from><to><member>db</member></to>
            <source><member>any</member></source><destination><member>any</member></destination>
            <application><member>any</member></application><service><member>any</member></service>
            <action>drop</action>
          </entry>
        </rules></security></pre-rulebase>
      </entry>
      <entry name="APAC"/>
    </device-group>
  </entry></devices>
  <readonly><devices><entry name="localhost.localdomain"><device-group>
    <entry name="EMEA"><id>11</id></entry>
    <entry name="K8s prod"><id>12</id><parent-dg>EMEA</parent-dg></entry>
    <entry name="APAC"><id>13</id></entry>
  </device-group></entry></devices></readonly>
</config>
"""


def served(**settings: object) -> PanoramaServer:
    """A server that isn't started yet, with quick commits."""
    return PanoramaServer(Panorama(CONFIG, **{"commit_seconds": 0.02, **settings}))  # type: ignore[arg-type]
