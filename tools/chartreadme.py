"""config/chart/README.md: how to install, and a table of all values from values.yaml."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from tools.values import CHART, values

FILE = CHART / "README.md"
HEADING = """# The chart zonebridge

```
helm install zonebridge config/chart -n zonebridge-system --create-namespace \\
  --set cluster.name=prod --set cluster.deviceGroup=k8s-prod --set 'panorama.hosts={panorama.example.com}'
```

Nothing is denied after it: the enforcers observe. The steps, with the Secrets that are needed, are in
[docs/install.md](../../docs/install.md), the second step in [docs/enforce.md](../../docs/enforce.md). `bridge.settings` and `enforcer.settings` are the programs' settings files; what is misspelt in them is refused by
`values.schema.json`, which is made from the programs' own models.

`helm uninstall` first takes the rules out of every node's kernel (`uninstall.flush`) and keeps the custom resource definitions (`crds.keep`).

This file is made from `values.yaml` by `make generate`.

| value | default | meaning |
| --- | --- | --- |
"""


def text() -> str:
    rows = (f"| `{'.'.join(each.path)}` | {_shown(each.default)} | {each.meaning} |" for each in values())
    return HEADING + "\n".join(rows) + "\n"


def _shown(default: Any) -> str:  # noqa: ANN401 - any YAML
    if default in ("", [], {}):
        return "none"
    written = yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return f"`{written}`"


def main() -> int:
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
