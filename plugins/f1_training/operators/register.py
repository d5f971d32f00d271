"""Register a model version, and let the alias ``champion`` mean it if it is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.operators.reports import ModelReportLink
from trainer.contract import EvaluationResult, SnapshotRef, TrainingResult
from trainer.contract.fields import decode, encode

if TYPE_CHECKING:
    from f1_training.registry.card import Inputs, ModelCard
    from f1_training.registry.promotion import Decision
    from f1_training.registry.store import AliasEvent, Registry

#: Stands for the Assets of the champions: which of them an event is for is known when it happens.
CHAMPIONS = AssetAlias("f1_champions")


class RegisterModelOperator(BaseOperator):
    """Store booster and model card as a version that never changes; promote it if it beats champion and baseline.

    The alias moves only if it still means the version that was compared with; of two runs that would promote at once
    one does, and the other reports the conflict. A promotion is an event of the Asset ``f1_model.<model>.champion``.

    Args:
        plan: the run's plan, from task ``plan``.
        snapshots: what :class:`SnapshotOperator` returned.
        trained: what :class:`DaskTrainingOperator` returned.
        evaluated: what :class:`EvaluationOperator` returned.

    Returns what the run made: version, URI, metrics, whether it is champion and why.
    """

    template_fields: Sequence[str] = ("plan", "snapshots", "trained", "evaluated")
    operator_extra_links = (ModelReportLink(),)
    ui_color = "#f8d7da"

    def __init__(self, *, plan: Any, snapshots: Any, trained: Any, evaluated: Any, **kwargs: Any) -> None:
        super().__init__(outlets=[CHAMPIONS], **kwargs)
        #: Where the version's report is, once there is one.
        self.report_uri = ""
        self._model_uri = ""
        self.plan = plan
        self.snapshots = snapshots
        self.trained = trained
        self.evaluated = evaluated

    def execute(self, context: Any) -> dict[str, Any]:
        """Register and promote. Doing it again changes nothing; a dry run is skipped."""
        from airflow.sdk.exceptions import AirflowSkipException

        from f1_training.core.storage import read_object
        from f1_training.costs.estimate import cost_of_run
        from f1_training.costs.prices import read_prices
        from f1_training.registry.card import model_card
        from f1_training.registry.promotion import decide
        from f1_training.registry.report import REPORT, page
        from f1_training.registry.store import Registry

        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            if plan.dry_run:
                raise AirflowSkipException("a dry run is never registered: everything else worked")
            made = TrainingResult.from_json(read_object(self.trained["result_uri"]))
            evaluation = EvaluationResult.from_json(read_object(self.evaluated["evaluation_uri"]))
            inputs = self._inputs(plan)
            scanned = inputs.spec.snapshot.bytes_scanned + inputs.test_snapshot.bytes_scanned
            cost = cost_of_run(plan, read_prices(plan.settings.costs.prices), made, scanned)
            card = model_card(plan, inputs, made, evaluation, cost)
            registry = Registry(plan.settings.uris.models)
            registered = registry.register(card, read_object(made.model_uri))
            self._model_uri = registered.model_uri
            decision = decide(evaluation, plan.entry.gates)
            html = page(registered.card, decision).encode()
            self.report_uri = registry.attach(registered.card, REPORT, html, "text/html; charset=utf-8")
            champion, reason = _promoted(registry, registered.card, decision)
            word = "champion" if champion else "not promoted"
            self.log.info("%s %s is %s: %s", card.model_type, card.model_version, word, reason)
            if champion:
                announce_champion(context, card.model_type, card.model_version, reason)
        summary = _summary(registered.card, registered.model_uri, champion=champion, reason=reason)
        return {**summary, "report_uri": self.report_uri}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - the provider's signature
        """The booster and the rows that it was evaluated on, and the version."""
        from f1_training.operators.lineage import moved

        return moved([self.trained.get("model_uri", ""), self.snapshots["evaluation"]["table"]], [self._model_uri])

    def _inputs(self, plan: RunPlan) -> Inputs:
        from f1_training.core.specs import training_spec
        from f1_training.registry.card import Inputs

        training, evaluation = (decode(SnapshotRef, self.snapshots[n], "snapshot") for n in ("training", "evaluation"))
        spec = training_spec(plan, training, int(self.trained["attempt"]))
        return Inputs(spec=spec, test_snapshot=evaluation)


def _promoted(registry: Registry, card: ModelCard, decision: Decision) -> tuple[bool, str]:
    if not decision.promote:
        return False, decision.reason
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    comparison = card.evaluation.comparison
    compared = comparison.version if comparison is not None else ""

    def still_wanted(newest: AliasEvent | None) -> bool:
        # Versions sort by time: a run of last week that is cleared today does not push out this week's champion.
        if newest is None:
            return not compared
        return newest.model_version == compared and newest.model_version < card.model_version

    event = registry.promote(card, decision.reason, at, still_wanted)
    if event is not None:
        return True, decision.reason
    newest = registry.alias(card.model_type)
    now = newest.model_version if newest else "none"
    if newest is not None and newest.model_version > card.model_version:
        return False, f"version {now}, which is newer, is champion already"
    return False, (
        f"conflict: it was compared with {compared or 'no champion'}, meanwhile the champion is {now}; clear the tasks "
        "evaluate and register to compare again"
    )


def announce_champion(context: Any, model_type: str, version: str, reason: str) -> None:
    """An event of the model's Asset, for whoever waits for a new champion. Nobody is lost without it."""
    events = context.get("outlet_events")
    if events is not None:
        extra = {"version": version, "reason": reason}
        events[CHAMPIONS].add(Asset(f"f1_model.{model_type}.champion"), extra=extra)


def _summary(card: ModelCard, model_uri: str, *, champion: bool, reason: str) -> dict[str, Any]:
    from f1_training.registry.card import lineage_summary, metrics_shown

    return {
        "model_type": card.model_type,
        "version": card.model_version,
        "model_uri": model_uri,
        "sha256": card.sha256,
        "rounds": card.rounds,
        "workers": card.result.workers,
        "engine": card.engine,
        "metrics": metrics_shown(card),
        "champion": champion,
        "reason": reason,
        "lineage_summary": lineage_summary(card.result.lineage),
        "cost": encode(card.cost) if card.cost is not None else None,
    }
