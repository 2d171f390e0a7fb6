"""What runners are started for, remembered by key."""

from __future__ import annotations

from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.errors import ModelNotFound
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.launch_specs import LaunchSpecs


def key(load: str) -> RunnerKey:
    return RunnerKey("llama.cpp", load, BackendMode.COMPLETION, "")


class Known:
    """Launch specs, and how often somebody was asked for a name or a configuration."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.specs = LaunchSpecs(self.name, self.configuration)

    def name(self, key: RunnerKey) -> str:
        self.asked.append("name")
        if key.model == "gone":
            raise ModelNotFound("it is not here")
        return f"ai/{key.model}"

    def configuration(self, key: RunnerKey) -> ModelConfiguration:
        self.asked.append("configuration")
        return ModelConfiguration.model_validate({"parallel": 4})


def test_a_runner_is_called_as_its_first_client_called_it() -> None:
    """Whatever the next one says; a model that nobody named has the store's name."""
    known = Known()
    assert known.specs.of(key("a"), "my/name").model_ref == "my/name"
    assert known.specs.of(key("a"), "other/name").model_ref == "my/name"
    assert known.specs.name(key("a")) == "my/name"
    assert known.asked == ["configuration"]
    assert known.specs.of(key("b")).model_ref == "ai/b"


def test_a_model_that_is_gone_is_called_by_its_id() -> None:
    """A failure of it is still told."""
    assert Known().specs.name(key("gone")) == "gone"


def test_slots_are_of_one_start() -> None:
    """Fewer for this one leave what is remembered as it was configured."""
    known = Known()
    assert known.specs.of(key("a"), slots=2).configuration.parallel == 2
    assert known.specs.of(key("a")).configuration.parallel == 4


def test_what_was_configured_anew_is_asked_again() -> None:
    """For all modes of a load, and for no other."""
    known = Known()
    embedding = key("a")._replace(mode=BackendMode.EMBEDDING)
    for each in (key("a"), embedding, key("b")):
        known.specs.of(each, "name")
    known.specs.forget("a")
    known.asked.clear()
    for each in (key("a"), embedding, key("b")):
        known.specs.of(each, "name")
    assert known.asked == ["configuration"] * 2


def test_what_is_in_use_is_not_forgotten_however_many_there_are() -> None:
    """Others are, once there are more than any host has models."""
    known = Known()
    for number in range(300):
        known.specs.of(key(str(number)), f"name-{number}")
    known.specs.prune(lambda: {key("7")})
    assert known.specs.name(key("7")) == "name-7"
    assert known.specs.name(key("8")) == "ai/8"
