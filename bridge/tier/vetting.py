"""Which policy is fit to be published, and the plan that publishes it. Pure; `bridge.tier.sync` asks and carries out.

What a reading can't be published for is a refusal, and then the last policy that was found fit repairs the tier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bridge.compilation.recompile import CompiledReading, CompileTarget
from bridge.compilation.report import left_out_lines, refusal_lines
from bridge.errors import RevisionRefusedError
from bridge.tier.plan import Live, Plan, SafetyLimits, plan
from zones.policy import InfrastructureRule, Policy
from zones.tiers import native

Json = dict[str, Any]
_NO_GUARDS = SafetyLimits(max_deleted_share=1.0, allow_empty=True)


@dataclass(frozen=True, slots=True)
class Vetted:
    """What was last found fit to be published: the policy, and its objects but for the revision."""

    policy: Policy
    rendered: native.Rendered


@dataclass(frozen=True, slots=True)
class Planned:
    """What to do, for which policy, and why it isn't what the manager says, where it isn't."""

    plan: Plan | None
    vetted: Vetted | None
    refused: RevisionRefusedError | None = None


@dataclass(frozen=True, slots=True)
class Vetting:
    """For one cluster's target."""

    target: CompileTarget

    def plan(
        self,
        live: Live,
        reading: CompiledReading | None,
        infrastructure: tuple[InfrastructureRule, ...] | None,
        vetted: Vetted | None,
    ) -> Planned:
        """The plan for what was read; where that is refused, for the last vetted policy, which repairs the tier.

        `infrastructure`: as it is to be, where it is known.
        """
        refused: RevisionRefusedError | None = None
        if reading is not None:
            try:
                return self._of_reading(live, reading, vetted)
            except RevisionRefusedError as error:
                refused = error
        elif vetted is not None and infrastructure is not None:
            vetted = self._with_infrastructure(vetted, infrastructure, live)
        return self.again(live, vetted, refused)

    def again(self, live: Live, vetted: Vetted | None, refused: RevisionRefusedError | None) -> Planned:
        """The plan for what was found fit before."""
        if vetted is None:
            return Planned(None, None, refused)
        try:
            return Planned(_plan_for(vetted, live, _NO_GUARDS), vetted, refused)
        except RevisionRefusedError as error:
            return Planned(None, vetted, refused or error)

    def _of_reading(self, live: Live, reading: CompiledReading, vetted: Vetted | None) -> Planned:
        policy = reading.compiled.policy
        if policy is None:
            raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(reading.compiled))
        if vetted is not None and vetted.policy is policy:
            return Planned(_plan_for(vetted, live, _NO_GUARDS), vetted)
        source = native.TierSource(self.target.manager, self.target.device_group, reading.version)
        before = vetted.rendered if vetted else None
        candidate = Vetted(policy, native.render(policy, self.target.tier, live.next_revision, source, before))
        try:
            planned = _plan_for(candidate, live, self.target.guards, vetted.policy if vetted else None)
        except RevisionRefusedError as error:
            raise RevisionRefusedError(error.reason, *error.why, *left_out_lines(reading.compiled)) from error
        return Planned(planned, candidate)

    def _with_infrastructure(
        self, vetted: Vetted, infrastructure: tuple[InfrastructureRule, ...], live: Live
    ) -> Vetted:
        """An adopted tier with the infrastructure of today: a manager that is away must not keep that as it was."""
        if vetted.policy.infrastructure == infrastructure:
            return vetted
        policy = replace(vetted.policy, infrastructure=infrastructure)
        said = vetted.rendered.tier["spec"]["source"]
        source = native.TierSource(said["manager"], said["deviceGroup"], said["version"])
        return Vetted(policy, native.render(policy, self.target.tier, live.next_revision, source, vetted.rendered))


def _plan_for(vetted: Vetted, live: Live, guards: SafetyLimits, before: Policy | None = None) -> Plan:
    """The plan for a vetted policy at the revision that comes next."""
    tier = vetted.rendered.tier
    revision = live.revision_for(vetted.rendered.digest, tier["spec"]["source"])
    tier = tier | {"spec": tier["spec"] | {"revision": revision}}
    return plan(native.Rendered(tier, vetted.rendered.parts), live, guards, vetted.policy, before)


def bare(live: Json) -> Json:
    """A live object as it was rendered."""
    ours = (
        {native.TIER_LABEL: label} if (label := (live["metadata"].get("labels") or {}).get(native.TIER_LABEL)) else {}
    )
    metadata = {"name": live["metadata"]["name"]} | ({"labels": ours} if ours else {})
    return {"apiVersion": native.API_VERSION, "kind": live["kind"], "metadata": metadata, "spec": live["spec"]}
